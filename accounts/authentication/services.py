"""Finds the user for a WeCom code, checks whether that user may sign in, and revokes refused codes.

Identity is (corp, userid): nobody is found by name, mobile or e-mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cryptography.fernet import InvalidToken
from django.db import connection

from accounts.authentication import state
from accounts.models import DirectoryPolicy, User, WeComAccount, fold_userid
from integrations.clients.errors import IntegrationError, RecipientError
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.contacts import User as WeComUser
from integrations.core.redis import allows
from integrations.directory import note_seen
from integrations.models import Corp, Member, SyncRun
from integrations.models.fields import cipher
from integrations.models.written_queries import WrittenQuery

# user/get about somebody outside the app's visible scope: no privilege, or "no such userid".
_OUT_OF_SCOPE_CODES = frozenset({60011, 60111})
# For so long the last copy of the directory is believed without asking WeCom again: a night may be missed.
FRESH = timedelta(hours=36)
_DISABLED_STATUS = 2  # of user/get
_GONE = frozenset({Member.Presence.DELETED, Member.Presence.MISSING})


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """A code from WeCom. Good for one sign-in, so neither printed nor logged: django.contrib.auth passes the
    credentials of a failed sign-in on to whoever listens to its signal."""

    value: str = field(repr=False)


class Reason(StrEnum):
    NOT_A_MEMBER = "not-a-member"
    OTHER_COMPANY = "other-company"
    NOT_LINKED = "not-linked"
    COMPANY_MISSING = "company-missing"
    USER_DISABLED = "user-disabled"
    OUT_OF_SCOPE = "out-of-scope"
    NOT_ADMITTED = "not-admitted"
    COMPANY_DISABLED = "company-disabled"


class SignInRefused(Exception):
    """WeCom knows the person (by `userid`, empty for non-members), and yet sign-in is refused for `reason`."""

    def __init__(self, reason: Reason, *, userid: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.userid = userid


def person_for_code(*, client: WeComClient, corp: Corp, code: AuthorizationCode, now: datetime) -> User:
    """The person whom `code` stands for. Spends the code. One call to WeCom says who it is, a second one whether still
    in scope; none for somebody whom the directory's policy is in force for and the last copy has shown.

    Raises SignInRefused, or an IntegrationError where WeCom did not answer: LoginRefusedError for a code that is
    used, old or invented.
    """
    require_signing_in(corp=corp)
    userid = member_for_code(client=client, corp=corp, code=code)
    found = _found(corp=corp, userid=userid, now=now)
    if not found.person.is_active:
        raise SignInRefused(Reason.USER_DISABLED, userid=userid)
    has_called_wecom = require_let_in(client=client, corp=corp, userid=userid, member=found.member, now=now)
    # Checked again: WeCom may have taken seconds to answer, and disabling takes effect at once.
    if not (Corp.objects.signing_in().filter(pk=corp.pk).exists() if has_called_wecom else found.corp_signs_in):
        raise SignInRefused(Reason.COMPANY_DISABLED)
    return found.person


# By hand: writing it takes Django longer than all that the database does for it.
_SIGNED_IN = """
UPDATE accounts_wecomaccount SET proven_corp_id = corp_id, proven_userid = userid_folded, signed_in_at = %s
WHERE user_id = %s AND corp_id = %s
"""


def note_signed_in(*, user: User, corp: Corp, now: datetime) -> None:
    """Remember that this account has signed its person in. Holds for this company and userid only."""
    with connection.cursor() as cursor:
        cursor.execute(_SIGNED_IN, [now, user.pk, corp.pk])


def require_signing_in(*, corp: Corp) -> None:
    """Raises SignInRefused unless the corp is enabled and its people may sign in with WeCom."""
    if not (corp.is_enabled and corp.sign_in_enabled):
        raise SignInRefused(Reason.COMPANY_DISABLED)


def member_for_code(*, client: WeComClient, corp: Corp, code: AuthorizationCode) -> str:
    """The userid in `corp`. People of linked companies come as `CorpId/userid` and belong to that corp alone."""
    identity = client.auth_getuserinfo(code.value)
    corpid, slash, userid = identity.userid.rpartition("/")
    if not fold_userid(userid):
        raise SignInRefused(Reason.NOT_A_MEMBER)
    if slash and corpid.lower() != corp.corpid.lower():
        raise SignInRefused(Reason.OTHER_COMPANY, userid=identity.userid)
    return userid


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the copied directory has of somebody. `is_fresh`: the last copy of what the app sees is young enough."""

    pk: int
    presence: str
    status: str
    waits: bool
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """`corp_signs_in`: whether the corp does so now. `member`: None as well where no policy is in force."""

    person: User
    corp_signs_in: bool
    member: _Listed | None


# By hand: writing it takes Django longer than all that the database does for a sign-in. `is_fresh` is NULL before the
# first finished copy.
_PERSON_COLUMNS = ", ".join(f"person.{field.column}" for field in User._meta.concrete_fields)
_PERSON = WrittenQuery(
    User,
    f"""
SELECT {_PERSON_COLUMNS},
    corp.is_enabled AND corp.sign_in_enabled AS corp_signs_in,
    member.id AS member_id, member.presence AS presence, member.status AS member_status,
    member.waits_since IS NOT NULL AS waits,
    (
        SELECT run.started_at >= %(fresh)s FROM integrations_syncrun AS run
        WHERE run.corp_id = account.corp_id AND run.status = %(done)s AND run.source <> %(contacts)s
        ORDER BY run.id DESC LIMIT 1
    ) AS is_fresh
FROM accounts_wecomaccount AS account
JOIN accounts_user AS person ON person.id = account.user_id
JOIN integrations_corp AS corp ON corp.id = account.corp_id
LEFT JOIN accounts_directorypolicy AS policy
    ON policy.corp_id = account.corp_id AND policy.mode IN (%(link)s, %(create)s)
LEFT JOIN integrations_member AS member
    ON member.corp_id = policy.corp_id AND member.userid_folded = account.userid_folded
WHERE account.corp_id = %(corp)s AND account.userid_folded = %(userid)s
""",  # noqa: S608  # nosec B608  # names of our own columns
)


def _found(*, corp: Corp, userid: str, now: datetime) -> _Found:
    """Whose account has both attributes. Raises SignInRefused saying which one is missing."""
    values = {
        **{"corp": corp.pk, "userid": fold_userid(userid)},
        **{"link": DirectoryPolicy.Mode.LINK, "create": DirectoryPolicy.Mode.CREATE},
        **{"done": SyncRun.Status.DONE, "contacts": SyncRun.Source.CONTACTS},
        "fresh": now - FRESH,
    }
    row: Any = _PERSON.first(values)
    if row is not None:
        is_listed = row.member_id is not None
        standing = (row.presence, row.member_status, row.waits, bool(row.is_fresh))
        member = _Listed(row.member_id, *standing) if is_listed else None
        return _Found(row, row.corp_signs_in, member)
    if WeComAccount.objects.without_corp().for_userid(userid).exists():
        raise SignInRefused(Reason.COMPANY_MISSING, userid=userid)
    raise SignInRefused(Reason.NOT_LINKED, userid=userid)


def require_let_in(*, client: WeComClient, corp: Corp, userid: str, member: _Listed | None, now: datetime) -> bool:
    """Raises SignInRefused for somebody outside the app's visible scope, or whose userid had been deleted meanwhile.

    Somebody whom the copied directory has out of scope or disabled, and WeCom lets in by now, is let in from here on.
    Returns whether WeCom was asked. `corp`: enabled, or the directory's policy would not be in force. `member`: what
    the copied directory has of somebody, None where its policy is not in force.
    """
    if member is None:
        require_in_scope(client=client, userid=userid)
        return True
    if member.waits or member.presence in _GONE:
        raise SignInRefused(Reason.NOT_ADMITTED, userid=userid)
    is_able = member.presence == Member.Presence.HERE and member.status != Member.Status.DISABLED
    if is_able and member.is_fresh:
        return False
    if not is_able and corp.department_root_ids:
        # WeCom's answer tells nothing about the department roots that are set here.
        raise SignInRefused(Reason.OUT_OF_SCOPE, userid=userid)
    shown = require_in_scope(client=client, userid=userid)
    if shown.is_enabled is False or shown.status == _DISABLED_STATUS:
        raise SignInRefused(Reason.OUT_OF_SCOPE, userid=userid)
    if not is_able:
        note_seen(member_id=member.pk, now=now)
    return True


def require_in_scope(*, client: WeComClient, userid: str) -> WeComUser:
    """What WeCom shows of somebody.

    Raises SignInRefused for somebody outside the app's visible scope, for whom WeCom gives out a userid, too.
    """
    try:
        return client.user_get(userid)
    except RecipientError as error:
        if error.code not in _OUT_OF_SCOPE_CODES:
            raise
        raise SignInRefused(Reason.OUT_OF_SCOPE, userid=userid) from error


# --- Codes that we refuse are redeemed in the background: unspent they are a live credential for whoever saw them ---

# WeCom keeps codes below 512 bytes.
_FORM = re.compile(r"[A-Za-z0-9_.~+/=-]{1,512}")
# Invented codes must not use up the company's calls to WeCom (10,000 a minute; real codes do not count there). A whole
# company begins its day by the home page link, each time with a code to be spent.
BURNS_PER_MINUTE = 1000


def is_well_formed(code: str) -> bool:
    """Whether WeCom can have given out `code`: 1 to 512 characters of its alphabet."""
    return _FORM.fullmatch(code) is not None


def may_burn(*, corp_id: int) -> bool:
    """Count one burning for the corp; False once there were BURNS_PER_MINUTE within the minute."""
    return allows(f"burns:{corp_id}", at_most=BURNS_PER_MINUTE)


def seal(code: AuthorizationCode) -> str:
    """The code as it may stand in a queue that administrators and backups can read."""
    return cipher().encrypt(code.value.encode()).decode()


def unseal(sealed: str) -> AuthorizationCode | None:
    """None for what no key opens, or for a code that is dead by now."""
    try:
        return AuthorizationCode(cipher().decrypt(sealed.encode(), ttl=state.CODE_SECONDS).decode())
    except InvalidToken:
        return None


def burn(*, client: WeComClient, code: AuthorizationCode) -> str:
    """Redeem `code` and discard the answer. Returns "burned", or the name of the error that WeCom gave."""
    try:
        client.auth_getuserinfo(code.value)
    except IntegrationError as error:
        return type(error).__name__
    return "burned"
