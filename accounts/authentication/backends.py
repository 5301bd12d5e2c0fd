"""Authenticates people by a code from WeCom. Permissions come from django.contrib.auth's ModelBackend."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, cast

from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.models import User, WeComAccount, fold_userid
from integrations.clients.errors import RecipientError
from integrations.clients.wecom.client import WeComClient
from integrations.core.client_factory import wecom_client
from integrations.directory.sync import restore_member
from integrations.models import Corp, Member

# Error codes of user/get for people outside the app's visible scope: "no privilege" and "userid not found".
_OUT_OF_SCOPE_CODES = frozenset({60011, 60111})
# A directory copy younger than this is trusted without asking WeCom again. Copies are nightly; one may fail.
TRUSTED_COPY_AGE = timedelta(hours=36)
_DISABLED_STATUS = 2  # the value of `status` in the answer of user/get
_GONE = frozenset({Member.Presence.DELETED, Member.Presence.MISSING})


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """A sign-in code from WeCom. Its repr() is hidden: django.contrib.auth passes the credentials of a failed sign-in
    to all receivers of its signal."""

    value: str = field(repr=False)


class RefusalReason(StrEnum):
    """The reasons of SignInRefused. Each value is also one of flow.Cause."""

    NOT_A_MEMBER = "not-a-member"
    OTHER_COMPANY = "other-company"
    NOT_LINKED = "not-linked"
    COMPANY_MISSING = "company-missing"
    USER_DISABLED = "user-disabled"
    OUT_OF_SCOPE = "out-of-scope"  # or disabled in WeCom
    NOT_ADMITTED = "not-admitted"
    COMPANY_DISABLED = "company-disabled"


class SignInRefused(Exception):
    """Sign-in is refused for `reason`, usually after the code was redeemed. `userid` is empty if it is not known."""

    def __init__(self, reason: RefusalReason, *, userid: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.userid = userid


def _redeem_code(*, client: WeComClient, corp: Corp, code: AuthorizationCode) -> str:
    """Redeem the code and return the userid in `corp`. Raises SignInRefused for non-members, and for people of a linked
    company, whom WeCom reports as `CorpId/userid` with another CorpId."""
    identity = client.auth_getuserinfo(code.value)
    corpid, slash, userid = identity.userid.rpartition("/")
    if not fold_userid(userid):
        raise SignInRefused(RefusalReason.NOT_A_MEMBER)
    if slash and corpid.lower() != corp.corpid.lower():
        raise SignInRefused(RefusalReason.OTHER_COMPANY, userid=identity.userid)
    return userid


# Raw SQL, because two queries by the ORM took a quarter of a sign-in's processor time (benchmarks/sign_in.py).
# The User gets additional attributes: `corp_signs_in` (whether the corp allows sign-in now), `copied_at` (the start of
# the last copy of the app's scope) and `member_id`, `member_presence`, `member_status` and `member_waits_since` of the
# person in the copied directory: None if it lacks the person, or if no directory policy links or creates people.
_FIND_PERSON = """
    SELECT person.*, corp.is_enabled AND corp.sign_in_enabled AS corp_signs_in,
           member.id AS member_id, member.presence AS member_presence, member.status AS member_status,
           member.waits_since AS member_waits_since,
           (SELECT started_at FROM integrations_syncrun
             WHERE corp_id = corp.id AND status = 'done' ORDER BY id DESC LIMIT 1) AS copied_at
      FROM accounts_wecomaccount AS account
      JOIN accounts_user AS person ON person.id = account.user_id
      JOIN integrations_corp AS corp ON corp.id = account.corp_id
      LEFT JOIN accounts_directorypolicy AS policy ON policy.corp_id = corp.id AND policy.mode IN ('link', 'create')
      LEFT JOIN integrations_member AS member ON policy.id IS NOT NULL AND member.corp_id = corp.id
                                             AND member.userid_folded = account.userid_folded
     WHERE account.corp_id = %s AND account.userid_folded = %s
"""


class AdmissionSource(Enum):
    """The source of the information that a person may sign in."""

    DIRECTORY_COPY = "directory copy"
    WECOM = "wecom"


def _check_admission(*, client: WeComClient, corp: Corp, userid: str, person: Any, now: datetime) -> AdmissionSource:
    """Raise SignInRefused for a person outside the app's scope or disabled in WeCom, or whose userid was deleted, even
    if it exists again and waits for an administrator. Return the source of the answer. `person`: a row of _FIND_PERSON.

    If the copied directory shows the member as out of scope or disabled, but WeCom now reports the member as enabled
    and in scope, the copy is corrected.
    """
    if person.member_id is None:
        _check_with_wecom(client=client, userid=userid)
        return AdmissionSource.WECOM
    if person.member_waits_since is not None or person.member_presence in _GONE:
        raise SignInRefused(RefusalReason.NOT_ADMITTED, userid=userid)
    copy_admits = person.member_presence == Member.Presence.IN_SCOPE and person.member_status != Member.Status.DISABLED
    if copy_admits and person.copied_at is not None and person.copied_at >= now - TRUSTED_COPY_AGE:
        return AdmissionSource.DIRECTORY_COPY
    if not copy_admits and corp.department_root_ids:
        # WeCom's answer does not show whether the person is below the department roots that this company has set.
        raise SignInRefused(RefusalReason.OUT_OF_SCOPE, userid=userid)
    _check_with_wecom(client=client, userid=userid)
    if not copy_admits:
        restore_member(member_id=person.member_id, now=now)
    return AdmissionSource.WECOM


def _check_with_wecom(*, client: WeComClient, userid: str) -> None:
    """Raise SignInRefused if WeCom reports the member as disabled or out of the app's scope: the codes of such people
    still give a userid."""
    try:
        member = client.user_get(userid)
    except RecipientError as error:
        if error.code not in _OUT_OF_SCOPE_CODES:
            raise
        raise SignInRefused(RefusalReason.OUT_OF_SCOPE, userid=userid) from error
    if member.is_enabled is False or member.status == _DISABLED_STATUS:
        raise SignInRefused(RefusalReason.OUT_OF_SCOPE, userid=userid)


# --- Refused codes: redeemed in the background, so that nobody who has seen such a code can sign in with it elsewhere

# The purpose under which flow.seal_values encrypts codes for the task queue, which administrators can read.
SEALED_CODE = "code"
# WeCom's codes have at most 512 bytes.
_CODE_FORM = re.compile(r"[A-Za-z0-9_.~+/=-]{1,512}")
# Unknown codes must not use up the company's calls to WeCom (10,000 a minute; calls with valid codes do not count).
# This limit leaves room for a large company whose people all open the home page link in the morning, each with a code.
CODES_REDEEMED_PER_MINUTE = 1000


def is_well_formed(code: str) -> bool:
    """Return whether `code` has the form of WeCom's codes: 1 to 512 characters of their alphabet."""
    return _CODE_FORM.fullmatch(code) is not None


class WeComBackend(BaseBackend):
    """A backend for `authenticate(request, corp=…, code=…)`."""

    @sensitive_variables("code")
    def authenticate(  # type: ignore[override]  # Django picks a backend by its credentials' names
        self,
        request: HttpRequest | None,
        *,
        corp: Corp,
        code: AuthorizationCode,
        explain: Callable[[SignInRefused], None] | None = None,
    ) -> User:
        """Redeem `code` and return the person to whom it belongs. If sign-in is refused, call `explain` and raise
        PermissionDenied, so that Django asks no other backend.

        The first call to WeCom returns the userid; a second one whether the person is enabled and in the app's scope.
        The second call is left out if the corp's directory policy is on and a recent copy of its directory
        (TRUSTED_COPY_AGE) has the member. Raises IntegrationError if a call failed, and CodeRejectedError for a
        code that is redeemed already, expired or unknown.
        """
        try:
            client, now = wecom_client(corp), timezone.now()
            if not (corp.is_enabled and corp.sign_in_enabled):
                raise SignInRefused(RefusalReason.COMPANY_DISABLED)
            userid = _redeem_code(client=client, corp=corp, code=code)
            person: Any = next(iter(User.objects.raw(_FIND_PERSON, [corp.pk, fold_userid(userid)])), None)
            if person is None:
                is_without_corp = WeComAccount.objects.without_corp().for_userid(userid).exists()
                reason = RefusalReason.COMPANY_MISSING if is_without_corp else RefusalReason.NOT_LINKED
                raise SignInRefused(reason, userid=userid)
            if not person.is_active:
                raise SignInRefused(RefusalReason.USER_DISABLED, userid=userid)
            source = _check_admission(client=client, corp=corp, userid=userid, person=person, now=now)
            # Check again, because WeCom may have taken seconds to answer: disabling takes effect at once.
            if source is AdmissionSource.WECOM:
                is_still_enabled = Corp.objects.signing_in().filter(pk=corp.pk).exists()
            else:
                is_still_enabled = person.corp_signs_in
            if not is_still_enabled:
                raise SignInRefused(RefusalReason.COMPANY_DISABLED)
            return cast(User, person)
        except SignInRefused as refusal:
            if explain is not None:
                explain(refusal)
            raise PermissionDenied(refusal.reason) from refusal

    def get_user(self, user_id: int) -> User | None:
        """Return the user with this key if active, else None."""
        return User.objects.filter(pk=user_id, is_active=True).first()
