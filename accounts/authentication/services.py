"""Finds the user for a WeCom code, checks whether that user may sign in, and revokes refused codes.

Identity is (corp, userid): nobody is found by name, mobile or e-mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography.fernet import InvalidToken
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet

from accounts.authentication import state, throttling
from accounts.models import DirectoryPolicy, User, WeComAccount, fold_userid
from integrations.clients.errors import IntegrationError, RecipientError
from integrations.clients.wecom.api.contacts import User as WeComUser
from integrations.clients.wecom.client import WeComClient
from integrations.directory import last_sync_at, note_seen
from integrations.models import Corp, Member
from integrations.models.fields import cipher

# user/get about somebody outside the app's visible scope: no privilege, or "no such userid".
_OUT_OF_SCOPE_CODES = frozenset({60011, 60111})
# For so long the last copy of the directory is believed without asking WeCom again: a night may be missed.
FRESH = timedelta(hours=36)
_DISABLED_STATUS = 2  # of user/get
# In which modes the policy of an enabled company is in force.
_IN_FORCE = (DirectoryPolicy.Mode.LINK, DirectoryPolicy.Mode.CREATE)
# What is read of somebody in the copied directory.
_STANDING = ("presence", "status", "waits_since")
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
    person = person_with(corp=corp, userid=userid)
    if not person.is_active:
        raise SignInRefused(Reason.USER_DISABLED, userid=userid)
    # Checked again: WeCom may have taken seconds to answer, and disabling takes effect at once.
    is_ruled, signs_in = person.is_ruled, person.corp_signs_in  # type: ignore[attr-defined]  # annotated below
    member = _member(corp.pk, fold_userid(userid)) if is_ruled else None
    has_called_wecom = require_let_in(client=client, corp=corp, userid=userid, member=member, now=now)
    if not (Corp.objects.signing_in().filter(pk=corp.pk).exists() if has_called_wecom else signs_in):
        raise SignInRefused(Reason.COMPANY_DISABLED)
    return person


def note_signed_in(*, user: User, corp: Corp, now: datetime) -> None:
    """Remember that this account has signed its person in. Holds for this company and userid only."""
    accounts = WeComAccount.objects.filter(user=user, corp=corp)
    accounts.update(proven_corp_id=corp.pk, proven_userid=F("userid_folded"), signed_in_at=now)


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


def person_with(*, corp: Corp, userid: str) -> User:
    """The user whose account has both attributes. Raises SignInRefused saying which one is missing."""
    person = next(iter(_person(corp.pk, fold_userid(userid))), None)
    if person is not None:
        return person
    if WeComAccount.objects.without_corp().for_userid(userid).exists():
        raise SignInRefused(Reason.COMPANY_MISSING, userid=userid)
    raise SignInRefused(Reason.NOT_LINKED, userid=userid)


def _person(corp_id: int, userid_folded: str) -> QuerySet[User]:
    """At most one. `corp_signs_in`: whether the corp does so now; `is_ruled`: whether its policy is in force."""
    theirs = User.objects.filter(wecom_accounts__corp=corp_id, wecom_accounts__userid_folded=userid_folded)
    signs_in = Q(wecom_accounts__corp__is_enabled=True, wecom_accounts__corp__sign_in_enabled=True)
    is_ruled = Q(wecom_accounts__corp__directory_policy__mode__in=_IN_FORCE)
    return theirs.annotate(
        corp_signs_in=ExpressionWrapper(signs_in, BooleanField()),
        is_ruled=ExpressionWrapper(is_ruled, BooleanField()),
    )


def require_let_in(*, client: WeComClient, corp: Corp, userid: str, member: Member | None, now: datetime) -> bool:
    """Raises SignInRefused for somebody outside the app's visible scope, or whose userid had been deleted meanwhile.

    Somebody whom the copied directory has out of scope or disabled, and WeCom lets in by now, is let in from here on.
    Returns whether WeCom was asked. `corp`: enabled, or the directory's policy would not be in force. `member`: what
    the copied directory has of somebody, None where its policy is not in force.
    """
    if member is None:
        require_in_scope(client=client, userid=userid)
        return True
    if member.waits_since is not None or member.presence in _GONE:
        raise SignInRefused(Reason.NOT_ADMITTED, userid=userid)
    is_able = member.presence == Member.Presence.HERE and member.status != Member.Status.DISABLED
    synced_at = member.synced_at  # type: ignore[attr-defined]  # annotated above
    if is_able and synced_at is not None and synced_at >= now - FRESH:
        return False
    if not is_able and corp.department_root_ids:
        # WeCom's answer tells nothing about the department roots that are set here.
        raise SignInRefused(Reason.OUT_OF_SCOPE, userid=userid)
    shown = require_in_scope(client=client, userid=userid)
    if shown.is_enabled is False or shown.status == _DISABLED_STATUS:
        raise SignInRefused(Reason.OUT_OF_SCOPE, userid=userid)
    if not is_able:
        note_seen(member=member, now=now)
    return True


def _member(corp_id: int, userid_folded: str) -> Member | None:
    """What the copied directory has of somebody. `synced_at`: see last_sync_at."""
    named = Member.objects.filter(corp=corp_id, userid_folded=userid_folded).order_by()
    return next(iter(named.only(*_STANDING).annotate(synced_at=last_sync_at(corp_id=corp_id))), None)


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
    return throttling.allows(f"burns:{corp_id}", at_most=BURNS_PER_MINUTE)


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
