"""Admin pages of sign-in security: whether passwords are allowed, and who is locked out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.authentication import lockout, password_policy
from accounts.models import Lockout, SignInPolicy
from accounts.users.scopes import lockouts_visible_to
from integrations.admin.base import OneRowAdmin
from integrations.core.admin_pages import AnyModelAdmin, ConfirmedChanges, VersionedForm


class SignInPolicyForm(VersionedForm):
    class Meta:
        model = SignInPolicy
        fields = ("password_enabled",)

    def clean_password_enabled(self) -> bool:
        is_enabled: bool = self.cleaned_data["password_enabled"]
        reason = "" if is_enabled else password_policy.reason_against_switching_off()
        if reason:
            raise forms.ValidationError(reason)
        return is_enabled


@admin.register(SignInPolicy)
class SignInPolicyAdmin(ConfirmedChanges, OneRowAdmin):
    form = SignInPolicyForm
    fieldsets = ((None, {"fields": ("password_enabled", "wecom_administrators", "emergency_exit")}),)
    readonly_fields = ("wecom_administrators", "emergency_exit")

    @admin.display(description=_("superusers who sign in with WeCom"))
    def wecom_administrators(self, _policy: SignInPolicy) -> str:
        names = [str(person) for person in password_policy.wecom_administrators().order_by("username")[:20]]
        return ", ".join(names) or gettext("None yet: passwords cannot be switched off.")

    @admin.display(description=_("emergency exit"))
    def emergency_exit(self, _policy: SignInPolicy) -> SafeString:
        sentence = gettext("Should nobody get in any more, this command on the server switches passwords on again:")
        return format_html("{} <code>guanwecom password_sign_in on</code>", sentence)


class LockedFilter(admin.SimpleListFilter):
    title = _("locked")
    parameter_name = "locked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("locked")), ("no", _("not locked"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lockout]) -> QuerySet[Lockout]:
        if self.value() == "yes":
            return queryset.filter(failures_since_start__gte=settings.LOCKOUT_TRIES)
        if self.value() == "no":
            return queryset.filter(failures_since_start__lt=settings.LOCKOUT_TRIES)
        return queryset


@admin.register(Lockout)
class LockoutAdmin(AnyModelAdmin):
    """Who got passwords wrong lately. Deleting is unlocking, and is said so."""

    empty_list = _("Nobody has got a password wrong lately.")
    list_display = ("tried_username", "address", "wrong_count", "state", "last_tried")
    list_display_links = None
    list_filter = (LockedFilter,)
    search_fields = ("username", "ip_address")
    search_help_text = _("Username or IP address")
    show_full_result_count = False
    actions = ("unlock",)
    fields = ("tried_username", "address", "wrong_count", "state", "last_tried")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lockout]:
        recent = timezone.now() - timedelta(minutes=settings.LOCKOUT_MINUTES)
        rows = lockouts_visible_to(request.user).filter(attempt_time__gt=recent)
        counted: QuerySet[Lockout] = rows.annotate(
            from_address=Subquery(lockout.counted_from(OuterRef("ip_address"), since=recent))
        )
        return counted

    def get_actions(self, request: HttpRequest) -> Any:
        return {name: action for name, action in super().get_actions(request).items() if name == "unlock"}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Lockout | None = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Lockout) -> None:
        lockout.unlock(username=obj.username)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Nothing: unlocking is in the audit trail. A username may be a password that went into the wrong field."""
        return []

    @admin.display(description=_("username"), ordering="username")
    def tried_username(self, row: Lockout) -> str:
        """Replaces the column, whose name django-axes does not translate."""
        return str(row.username)

    @admin.display(description=_("IP address"), ordering="ip_address")
    def address(self, row: Lockout) -> str:
        return row.ip_address or gettext("a browser that had signed in before")

    @admin.display(description=_("wrong passwords in a row"), ordering="failures_since_start")
    def wrong_count(self, row: Lockout) -> int:
        return int(row.failures_since_start)

    @admin.display(description=_("last try"), ordering="attempt_time")
    def last_tried(self, row: Lockout) -> str:
        return f"{timezone.localtime(row.attempt_time):%Y-%m-%d %H:%M:%S}"

    @admin.display(description=_("status"))
    def state(self, row: Lockout) -> SafeString:
        tone, words = "quiet", gettext("not locked")
        if row.failures_since_start >= settings.LOCKOUT_TRIES:
            tone, words = "bad", gettext("locked")
        elif (row.from_address or 0) >= lockout.TRIES_ADDRESS:  # annotated in get_queryset
            tone, words = "warn", gettext("the address waits after each try")
        return format_html('<span class="pill pill-{}">{}</span>', tone, words)

    @admin.action(description=_("Unlock the selected usernames"), permissions=["delete"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[Lockout]) -> None:
        usernames = sorted(set(queryset.order_by().values_list("username", flat=True)))
        for username in usernames:
            lockout.unlock(username=username)
        sentence = ngettext("%(count)d username is unlocked.", "%(count)d usernames are unlocked.", len(usernames))
        self.message_user(request, sentence % {"count": len(usernames)})
