"""Whether passwords may sign in. They can be switched off only while an administrator can sign in by WeCom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from accounts.models import SignInPolicy, User, WeComAccount
from accounts.models.security import THE_ONE

if TYPE_CHECKING:
    from integrations.models import Corp


class PolicyRefused(Exception):
    """Passwords cannot be switched off. `reason`: a sentence for the administrator, in the active language."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def current() -> SignInPolicy:
    """The saved policy, or the initial one: passwords sign in."""
    return SignInPolicy.objects.filter(pk=THE_ONE).first() or SignInPolicy()


def is_password_enabled() -> bool:
    return current().password_enabled


def reason_against_switching_off() -> str:
    """Why passwords have to stay, as a sentence in the active language; empty where they may go."""
    if wecom_administrators().exists():
        return ""
    return _(
        "No superuser has signed in with WeCom yet. Link a superuser with a WeCom account of an enabled company that "
        "lets administrators use their rights, sign in with it once, and then switch passwords off: otherwise nobody "
        "could get in any more."
    )


def wecom_administrators() -> QuerySet[User]:
    """Superusers who can enter the administration by WeCom, and have signed in with the very account that they have
    now."""
    proven = _proven_accounts()
    return User.objects.filter(pk__in=proven.values("user_id"), is_active=True, is_staff=True)


def _proven_accounts() -> QuerySet[WeComAccount]:
    return WeComAccount.objects.signing_in().filter(
        proven_corp_id=F("corp_id"),
        proven_userid=F("userid_folded"),
        user__is_superuser=True,
        corp__admin_rights_enabled=True,
    )


def disabling_shuts_out(corp: Corp) -> list[str]:
    """Before `corp` is disabled, or its sign-in or its administrators' rights are switched off: whether administrators
    could still get in afterwards."""
    if is_password_enabled():
        return []
    elsewhere = _proven_accounts().exclude(corp=corp)
    if User.objects.filter(pk__in=elsewhere.values("user_id"), is_active=True, is_staff=True).exists():
        return []
    return [
        _(
            "Sign-in with a password is switched off, and no superuser could sign in with WeCom any more: nobody "
            "could enter the administration to undo this. Switch passwords on first."
        )
    ]


@transaction.atomic
def set_password_enabled(*, is_enabled: bool) -> None:
    """Raises PolicyRefused where nobody could get in without a password."""
    reason = "" if is_enabled else reason_against_switching_off()
    if reason:
        raise PolicyRefused(reason)
    saved = current()
    saved.password_enabled = is_enabled
    saved.save()
