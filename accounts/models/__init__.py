"""Who a person is here and in WeCom, who did what, and how people may sign in."""

from accounts.models.attributes import Attribute, AttributeValue, fold_value
from accounts.models.audit import AuditEntry, UnsentAudit
from accounts.models.directory import DirectoryPolicy, LinkConflict, PeopleRun
from accounts.models.groups import DepartmentGroup, GivenGroup
from accounts.models.imports import ExportFile, ImportFile, ImportRow, PeopleExport, PeopleImport
from accounts.models.second_factors import TotpDevice
from accounts.models.security import Lockout, SignedInSession, SignInPolicy
from accounts.models.transfers import LinkRequest, PeopleMove
from accounts.models.users import User, WeComAccount, WeComAccountQuerySet, barred_by_wecom, fold_userid

__all__ = [
    "Attribute",
    "AttributeValue",
    "AuditEntry",
    "DepartmentGroup",
    "DirectoryPolicy",
    "ExportFile",
    "GivenGroup",
    "ImportFile",
    "ImportRow",
    "LinkConflict",
    "LinkRequest",
    "Lockout",
    "PeopleExport",
    "PeopleImport",
    "PeopleMove",
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
