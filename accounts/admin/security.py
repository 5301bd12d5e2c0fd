"""Admin pages of security: the audit trail, the password policy, and locks after wrong passwords."""

from __future__ import annotations

import json
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from typing import Any, cast

from django import forms
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Model, OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.admin.base import Column, OptionFilter, VisibleRowsAdmin
from accounts.admin.directory import CompanyFilter
from accounts.audit import services, signals
from accounts.authentication import passwords, totp
from accounts.importexport.sheets import make_csv_response
from accounts.models import AuditEntry, Lockout, SignInPolicy
from accounts.users import roles
from accounts.users.bi_identity import list_external_ids
from accounts.users.roles import find_changeable_people, sees_all
from integrations.admin.base import OneRowAdmin, State, make_routes, show_state
from integrations.admin.datasource_forms import KIND_LABELS
from integrations.core.admin_pages import AnyModelAdmin, ConfirmedChanges, VersionedForm, read_rows_newest_first
from integrations.core.hooks import Attention
from integrations.models import BiConnection, Card, Corp

# Actions of entries without a subject if the username is unknown: unknown usernames are not stored.
ABOUT_USERNAMES = {AuditEntry.Action.LOCKED_OUT, AuditEntry.Action.SIGN_IN_FAILED, AuditEntry.Action.UNLOCKED}
# Code in a message's text, for which the list shows an ellipsis. The last one may be cut.
_TEMPLATE_CODE = re.compile(r"\{[{%#].*?([}%#]\}|$)", re.DOTALL)
# Entries read in one query for the csv file.
EXPORTED_AT_ONCE = 2000
EXPORT_HEADER = ("id", "at", "actor", "ip", "action", "kind", "object_id", "subject", "note", "company_id", "changes")
# Administrators are warned once entries have been unsent for longer.
UNSENT_FOR = timedelta(minutes=2)


def _join_pairs(value: dict[str, Any]) -> str:
    return gettext(", ").join(f"{name}: {text}" for name, text in value.items())


signals.describe_field(
    Card, "kinds", lambda value: _join_pairs({name: KIND_LABELS.get(kind, kind) for name, kind in value.items()})
)
signals.describe_field(Card, "units", _join_pairs)
signals.describe_field(
    BiConnection,
    "external_id_source",
    lambda value: next((str(one.label) for one in list_external_ids() if one.key == value), value),
)


class KindFilter(admin.SimpleListFilter):
    """Filter by tracked model."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the tracked models, with the app's name if two models have the same name."""
        kinds = [(str(model._meta.verbose_name), model._meta) for model in signals.list_tracked_models()]
        counts = Counter(name for name, _options in kinds)
        with_app = gettext("%(kind)s (%(app)s)")
        return [
            (one.label_lower, with_app % {"kind": capfirst(name), "app": one.app_config.verbose_name})
            if counts[name] > 1
            else (one.label_lower, capfirst(name))
            for name, one in sorted(kinds, key=lambda pair: pair[0])
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        offered = {choice for choice, _label in self.lookup_choices}
        return queryset.filter(model=self.value()) if self.value() in offered else queryset


def _make_day_filter(count: int) -> Callable[[QuerySet[Any]], QuerySet[Any]]:
    """Return a function that keeps the entries of the last `count` days, with today, in the page's time zone."""
    return lambda entries: entries.filter(
        at__gte=timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=count - 1)
    )


class SinceFilter(OptionFilter):
    title = _("day")
    parameter_name = "since"
    options = {
        "today": (_("Today"), _make_day_filter(1)),
        "week": (_("Last 7 days"), _make_day_filter(7)),
        "month": (_("Last 30 days"), _make_day_filter(30)),
    }


@admin.register(AuditEntry)
class AuditEntryAdmin(VisibleRowsAdmin):
    list_display = (
        Column("moment", _("time"), lambda entry: entry.at, ordering="pk"),
        Column(
            "who",
            _("administrator"),
            lambda entry: entry.actor_name or (gettext("not signed in") if entry.ip else gettext("the program")),
        ),
        Column("what_was_done", _("action"), lambda entry: entry.get_action_display()),
        *("subject_shown", "changes_shown", "ip"),
        Column("company", _("WeCom company name"), lambda entry: entry.company_name or "—"),
    )
    list_display_links = list_display[:1]
    list_filter = ("action", KindFilter, CompanyFilter, SinceFilter)
    search_fields = ("subject", "actor_name", "note")
    search_help_text = _("Administrator, what was changed, or what was done")
    show_facets = admin.ShowFacets.NEVER  # each facet is a full count
    ordering = ("-pk",)
    fields = readonly_fields = cast("Any", (*list_display[:4], "whole_changes", *list_display[5:]))

    @admin.display(description=_("what"))
    def subject_shown(self, entry: AuditEntry) -> SafeString:
        model = _find_model(entry.model)
        if model is None:
            is_of_a_username = entry.action in ABOUT_USERNAMES
            return format_html("{}", entry.subject or (gettext("an unknown username") if is_of_a_username else "—"))
        kind = capfirst(str(model._meta.verbose_name))
        if isinstance(admin.site._registry.get(model), OneRowAdmin):  # its stored name may be in another language
            return format_html("{}", kind)
        return format_html('{}<br><span class="quiet">{}</span>', roles.label_group(entry.subject), kind)

    @admin.display(description=_("changes"))
    def changes_shown(self, entry: AuditEntry) -> SafeString:
        return self.whole_changes(entry, shorten=lambda text: Truncator(_TEMPLATE_CODE.sub("…", text)).chars(80, "…"))

    @admin.display(description=_("changes"))
    def whole_changes(self, entry: AuditEntry, shorten: Callable[[str], str] = str) -> SafeString:
        model, note = _find_model(entry.model), entry.note
        if note in {totp.SET_UP, totp.RENEWED, totp.REMOVED}:
            note = gettext(note)
        elif entry.action == AuditEntry.Action.SIGNED_IN:
            methods = {
                services.PASSWORD: gettext("with a password"),
                services.WECOM: gettext("with WeCom"),
                services.WECOM_AND_CODE: gettext("with WeCom and a code"),
            }
            note = methods.get(note, note)
        lines = [
            (
                capfirst(signals.label_field(model, name)) if model else name,
                shorten(_describe_value(model, name, before)),
                shorten(_describe_value(model, name, after)),
            )
            for name, before, after in entry.changes
        ]
        changes = format_html_join("", "<div>{}: {} → {}</div>", lines)
        return format_html("<div>{}</div>{}", note, changes) if note else changes or SafeString("—")

    def get_urls(self) -> list[URLPattern]:
        return [*make_routes(self, {("export.csv", "csv"): require_GET(self.csv_view)}), *super().get_urls()]

    def csv_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """Return the filtered list as csv, the newest first. The download is recorded in the trail."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        entries = self.get_changelist_instance(request).get_queryset(request)
        services.record(action=AuditEntry.Action.DONE, name=str(AuditEntry._meta.verbose_name_plural), note="csv")
        # Times with their zone, values as JSON.
        lines = (
            [
                str(one.pk),
                one.at.isoformat(),
                one.actor_name,
                one.ip or "",
                one.action,
                one.model,
                "" if one.object_id is None else str(one.object_id),
                one.subject,
                one.note,
                "" if one.corp_id is None else str(one.corp_id),
                json.dumps(one.changes, ensure_ascii=False),
            ]
            for one in read_rows_newest_first(entries, at_once=EXPORTED_AT_ONCE)
        )
        name = f"guanwecom-audit-{timezone.localtime():%Y%m%d-%H%M%S}.csv"
        return make_csv_response(name, chain([EXPORT_HEADER], lines))

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Return the entries about companies that the user sees. Entries about no company or several ones are visible
        only to administrators of all companies. The companies' names come from a subquery, because a join would decrypt
        secrets."""
        entries = AuditEntry.objects.all()
        if not sees_all(request.user):
            entries = entries.filter(corp__in=Corp.objects.keys_visible_to(request.user))
        corps = Corp.objects.filter(pk=OuterRef("corp_id"))
        return entries.annotate(company_name=Subquery(corps.values("name")))


def list_unsent_attentions(request: HttpRequest, _corps: Sequence[Corp]) -> list[Attention]:
    """Warn administrators who see the whole trail if entries have been unsent for longer than UNSENT_FOR."""
    if not (request.user.has_perm("accounts.view_auditentry") and sees_all(request.user)):
        return []
    unsent = services.count_unsent_entries()
    if unsent.since is None or timezone.now() - unsent.since < UNSENT_FOR:
        return []
    sentence = ngettext(
        "%(count)d entry of the audit trail has been waiting for the syslog server since %(since)s.",
        "%(count)d entries of the audit trail have been waiting for the syslog server since %(since)s.",
        unsent.count,
    )
    since = f"{timezone.localtime(unsent.since):%Y-%m-%d %H:%M}"
    url = reverse("admin:accounts_auditentry_changelist")
    return [Attention(sentence % {"count": unsent.count, "since": since}, url)]


def _find_model(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label) if label else None
    except LookupError:  # the model has been removed since
        return None


def _describe_value(model: type[Model] | None, name: str, value: Any) -> str:
    """Describe a recorded value in the page's language."""
    if value is None or value in ("", []):
        return "—"
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    description = signals.descriptions.get((model, name)) if model is not None else None
    if description is not None:
        with suppress(ValueError, SyntaxError, KeyError, TypeError):  # the value is cut, or of an older version
            parsed = [literal_eval(item) for item in value] if isinstance(value, list) else value
            if isinstance(parsed, str) and parsed.startswith("{"):
                parsed = literal_eval(parsed)
            return description(parsed) or "—"
    if isinstance(value, list):
        return ", ".join(roles.label_group(str(item)) for item in value)
    try:
        choices = dict(getattr(model._meta.get_field(name), "flatchoices", ())) if model is not None else {}
    except FieldDoesNotExist:
        choices = {}
    return str(choices.get(value, value))


class SignInPolicyForm(VersionedForm):
    class Meta:
        model = SignInPolicy
        fields = ("password_enabled",)

    def clean_password_enabled(self) -> bool:
        is_enabled: bool = self.cleaned_data["password_enabled"]
        reason = "" if is_enabled else passwords.explain_why_passwords_are_needed()
        if reason:
            raise forms.ValidationError(reason)
        return is_enabled


@admin.register(SignInPolicy)
class SignInPolicyAdmin(ConfirmedChanges, OneRowAdmin):
    form = SignInPolicyForm
    fieldsets = ((None, {"fields": ("password_enabled", "wecom_superusers", "emergency_exit")}),)
    readonly_fields = ("wecom_superusers", "emergency_exit")

    @admin.display(description=_("superusers who sign in with WeCom"))
    def wecom_superusers(self, _policy: SignInPolicy) -> str:
        names = [str(person) for person in passwords.find_wecom_superusers().order_by("username")[:20]]
        return ", ".join(names) or gettext("None yet, so passwords cannot be switched off.")

    @admin.display(description=_("emergency exit"))
    def emergency_exit(self, _policy: SignInPolicy) -> SafeString:
        sentence = gettext("If nobody can sign in any more, this command on the server switches passwords on again:")
        return format_html("{} <code>guanwecom password_sign_in on</code>", sentence)


class LockedFilter(OptionFilter):
    title = _("locked")
    parameter_name = "locked"
    options = {
        "yes": (_("locked"), lambda rows: rows.filter(failures_since_start__gte=settings.LOCKOUT_TRIES)),
        "no": (_("not locked"), lambda rows: rows.filter(failures_since_start__lt=settings.LOCKOUT_TRIES)),
    }


@admin.register(Lockout)
class LockoutAdmin(AnyModelAdmin):
    """Admin of recent wrong passwords. Deleting a row unlocks its username."""

    empty_list = _("Nobody has entered a wrong password lately.")
    # Columns with labels of our own: django-axes does not translate the names of its fields.
    list_display = (
        Column("tried_username", _("username"), lambda row: row.username, ordering="username"),
        Column(
            *("address", _("IP address"), lambda row: row.ip_address or gettext("a browser that has signed in before")),
            ordering="ip_address",
        ),
        Column(
            *("wrong_count", _("wrong passwords in a row"), lambda row: row.failures_since_start),
            ordering="failures_since_start",
        ),
        "state",
        Column("last_tried", _("last try"), lambda row: row.attempt_time, ordering="attempt_time"),
    )
    list_display_links = None
    list_filter = (LockedFilter,)
    search_fields = ("username", "ip_address")
    search_help_text = _("Username or IP address")
    show_full_result_count = False
    actions = ("unlock",)
    fields = readonly_fields = cast("Any", list_display)

    @admin.display(description=_("status"))
    def state(self, row: Lockout) -> SafeString:
        if row.failures_since_start >= settings.LOCKOUT_TRIES:
            return show_state(State.DISABLED, gettext("locked"))
        if (row.from_address or 0) >= passwords.TRIES_ADDRESS:  # annotated in get_queryset
            return show_state(State.WAITING, gettext("each try locks the address for a minute"))
        return show_state(State.FINE, gettext("not locked"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lockout]:
        recent = timezone.now() - timedelta(minutes=settings.LOCKOUT_MINUTES)
        rows = Lockout.objects.filter(attempt_time__gt=recent)
        if not sees_all(request.user):  # only locks of people whom the user may change
            rows = rows.filter(username__in=find_changeable_people(request.user).values("username"))
        # Count the wrong passwords from the row's address for all usernames together.
        same_address = Lockout.objects.filter(
            ip_address=OuterRef("ip_address"), user_agent=passwords.ANY_BROWSER, attempt_time__gt=recent
        )
        by_address = same_address.order_by().values("ip_address").annotate(total=Sum("failures_since_start"))
        annotated: QuerySet[Lockout] = rows.annotate(from_address=Subquery(by_address.values("total")))
        return annotated

    def get_actions(self, request: HttpRequest) -> Any:
        return {name: action for name, action in super().get_actions(request).items() if name == "unlock"}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Lockout | None = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Lockout) -> None:
        passwords.unlock(username=obj.username)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Log nothing: the audit trail records the unlocking, and the username may be a password typed into the wrong
        field."""
        return []

    @admin.action(description=_("Unlock the selected usernames"), permissions=["delete"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[Lockout]) -> None:
        usernames = sorted(queryset.order_by().values_list("username", flat=True).distinct())
        for username in usernames:
            passwords.unlock(username=username)
        sentence = ngettext("%(count)d username is unlocked.", "%(count)d usernames are unlocked.", len(usernames))
        self.message_user(request, sentence % {"count": len(usernames)})
