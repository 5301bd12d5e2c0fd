"""Models of people here and in WeCom, the audit trail, and the sign-in policy."""

from accounts.models.attributes import Attribute, AttributeValue, fold_value
from accounts.models.audit import AuditEntry
from accounts.models.directory import DepartmentGroup, DirectoryPolicy, GivenGroup, LinkConflict
from accounts.models.imports import ImportRow, PeopleImport
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
