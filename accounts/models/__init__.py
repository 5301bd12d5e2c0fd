"""Who a person is here and in WeCom, who did what, and how people may sign in."""

from accounts.models.attributes import Attribute, AttributeValue, fold_value
from accounts.models.audit import AuditEntry
from accounts.models.directory import DirectoryPolicy, LinkConflict, PeopleRun
from accounts.models.exports import ExportFile, PeopleExport
from accounts.models.groups import DepartmentGroup, GivenGroup
from accounts.models.imports import ImportFile, ImportRow, PeopleImport
from accounts.models.moves import PeopleMove
from accounts.models.people import User, WeComAccount, WeComAccountQuerySet, barred_by_wecom, fold_userid
from accounts.models.requests import LinkRequest
from accounts.models.second_factors import TotpDevice
from accounts.models.security import Lockout, SignInPolicy
from accounts.models.sessions import SignedInSession

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
    "User",
    "WeComAccount",
    "WeComAccountQuerySet",
    "barred_by_wecom",
    "fold_userid",
    "fold_value",
]
