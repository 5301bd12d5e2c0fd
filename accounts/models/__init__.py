"""Models of people here and in WeCom, the audit trail, and the sign-in policy."""

from accounts.models.attributes import Attribute, AttributeValue, fold_value
from accounts.models.audit import AuditEntry, UnsentAudit
from accounts.models.directory import DepartmentGroup, DirectoryPolicy, GivenGroup, LinkConflict, PeopleRun
from accounts.models.imports import ImportFile, ImportRow, PeopleImport
from accounts.models.users import (
    Lockout,
    SignedInSession,
    SignInPolicy,
    TotpDevice,
    User,
    WeComAccount,
    WeComAccountQuerySet,
    barred_by_wecom,
)
from integrations.models import fold_userid

__all__ = [
    "Attribute",
    "AttributeValue",
    "AuditEntry",
    "DepartmentGroup",
    "DirectoryPolicy",
    "GivenGroup",
    "ImportFile",
    "ImportRow",
    "LinkConflict",
    "Lockout",
    "PeopleImport",
    "PeopleRun",
    "SignInPolicy",
    "SignedInSession",
    "TotpDevice",
    "UnsentAudit",
    "User",
    "WeComAccount",
    "WeComAccountQuerySet",
    "barred_by_wecom",
    "fold_userid",
    "fold_value",
]
