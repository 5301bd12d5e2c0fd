"""What the audit trail follows of people, companies and sign-in, and which company each row is about."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_save
from django.http import HttpRequest

from accounts import audit, bulk_audit, tracking
from accounts.lockout import PASSWORD_BACKEND
from accounts.models import (
    Attribute,
    DepartmentGroup,
    DirectoryPolicy,
    LinkRequest,
    SignInPolicy,
    User,
    WeComAccount,
)
from integrations.models import BiConnection, Card, Corp, DataSource, SiteAddress, StagedCredentials, VerificationFile


def track_people_and_companies() -> None:
    tracking.track(
        Corp, corps=lambda corp: [corp.pk], left_out=("connection_version", "created_at", "first_enabled_at")
    )
    tracking.track(StagedCredentials, corps=lambda staged: [staged.corp_id], left_out=_OF_STAGING)
    tracking.track(SiteAddress, corps=_at_address, left_out=("changed_at",))
    tracking.track(VerificationFile, corps=lambda file: [file.corp_id], left_out=_RESULTS)
    tracking.track(
        User,
        corps=_of_person,
        left_out=("last_login", "date_joined", "session_epoch"),
        secrets=("password",),
        m2m=("managed_corps", "groups", "user_permissions"),
    )
    tracking.track(
        WeComAccount, corps=_of_account, left_out=("userid_folded", "left_at", *_PROOF), name=bulk_audit.name_of
    )
    tracking.track(LinkRequest, corps=lambda request: [request.corp_id], left_out=_OF_ASKING)
    tracking.track(DirectoryPolicy, corps=lambda policy: [policy.corp_id], left_out=("changed_at",))
    tracking.track(Attribute, corps=lambda attribute: [])
    tracking.track(BiConnection, corps=lambda bi: [], left_out=_BI_TEST)
    tracking.track(DataSource, corps=lambda source: [source.corp_id], left_out=("created_at", "changed_at"))
    tracking.track(Card, corps=lambda card: [card.source.corp_id], left_out=("created_at", "changed_at"))
    tracking.track(DepartmentGroup, corps=lambda rule: [rule.department.corp_id])
    tracking.track(SignInPolicy, corps=lambda policy: [], left_out=("changed_at",))
    tracking.track(Group, corps=lambda group: [], m2m=("permissions",))
    post_save.connect(_note_done, sender=LogEntry, dispatch_uid="accounts.tracked.done")
    user_logged_in.connect(_note_sign_in, dispatch_uid="accounts.tracked.sign_in")


_RESULTS = ("uploaded_at", "check_requested_at", "checked_at", "checked_url", "outcome", "detail")
_OF_STAGING = ("staged_by", "staged_at", "next_try_at", "settled_at", "problem", "facts", "errcode", "caller_ip")
_BI_TEST = (
    *("check_requested_at", "check_as", "checked_at", "checked_version", "check_results"),
    *("connection_version", "key_saved_at", "changed_at"),
)
_OF_ASKING = ("userid_folded", "first_asked_at", "asked_at", "ask_count")
_PROOF = ("proven_corp_id", "proven_userid", "signed_in_at")


def _at_address(address: SiteAddress) -> list[int]:
    return list(Corp.objects.at(address).values_list("pk", flat=True)) if address.pk else []


def _of_person(person: User) -> list[int | None]:
    """The companies of their accounts and those that they manage; who manages all is nobody's in particular."""
    if person.pk is None or person.is_superuser or person.manages_all_corps:
        return []
    accounts = WeComAccount.objects.filter(user=person.pk).values_list("corp_id", flat=True)
    return [*accounts, *person.managed_corps.values_list("pk", flat=True)]


def _of_account(account: WeComAccount) -> list[int | None]:
    person = User.objects.filter(pk=account.user_id).first()
    return [account.corp_id, *(_of_person(person) if person else [])]


def _note_done(instance: LogEntry, created: bool, **_signal: Any) -> None:
    if created:
        tracking.note_done(instance)


def _note_sign_in(user: Any, request: HttpRequest | None = None, **_signal: Any) -> None:
    if isinstance(user, User) and request is not None:
        audit.record_sign_in(
            user=user, note=audit.PASSWORD if getattr(user, "backend", "") == PASSWORD_BACKEND else audit.WECOM
        )
