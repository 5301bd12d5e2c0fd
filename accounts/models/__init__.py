"""Who a person is here and in WeCom, who did what, and how people may sign in."""

from accounts.models.audit import AuditEntry
from accounts.models.people import User, WeComAccount, WeComAccountQuerySet, fold_userid
from accounts.models.security import Lockout, SignInPolicy

__all__ = [
    "AuditEntry",
    "Lockout",
    "SignInPolicy",
    "User",
    "WeComAccount",
    "WeComAccountQuerySet",
    "fold_userid",
]
