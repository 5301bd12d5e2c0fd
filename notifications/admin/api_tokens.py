"""Admin pages of API tokens: permissions, scope, expiry, revocation."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.base import Column, RowsAdmin, format_moment
from accounts.directory.groups import DepartmentsField
from accounts.models import User
from accounts.users.roles import find_visible_people, sees_rows_without_corp
from integrations.admin.base import ONE_SAVE_BUTTON, RowAction, State, find_row, make_routes, show_page, show_state
from integrations.core.admin_pages import AnyModelForm, ConfirmedChanges
from integrations.models import Corp
from notifications.admin import base
from notifications.api import tokens
from notifications.delivery.runs.ownership import describe_owner
from notifications.inbound.accept import count_sent_today
from notifications.models import ApiToken, Subscription

PEOPLE = ("send_users", "send_groups", "send_departments")
SENDING_FIELDS = ("may_send", "sends_to", "send_corps", *PEOPLE, "daily_limit", "allows_private_addresses")
LIFETIMES = ((30, _("30 days")), (90, _("90 days")), (365, _("1 year")), (730, _("2 years")))
Reach, SendReach = ApiToken.Reach, ApiToken.SendReach
# Permissions besides sending messages, which has limits of its own.
PURPOSES = ("may_run", "may_read", "may_alert")
# The fields that list the rows of each scope, and the error if they are empty.
REACH_LISTS: dict[Any, tuple[tuple[str, ...], Any]] = {
    Reach.CORPS: (("corps",), _("Choose at least one company.")),
    Reach.SUBSCRIPTIONS: (("subscriptions",), _("Choose at least one push.")),
}
SEND_LISTS: dict[Any, tuple[tuple[str, ...], Any]] = {
    SendReach.CORPS: (("send_corps",), _("Choose at least one company.")),
    SendReach.CHOSEN: (PEOPLE, _("Choose whom it may reach.")),
}


class ApiTokenForm(AnyModelForm):
    """The form of a new token. `person`: the signed-in administrator, who becomes the owner; set by the admin."""

    person: User
    days = forms.TypedChoiceField(label=_("expires in"), choices=LIFETIMES, coerce=int, initial=365)
    page_key = forms.CharField(  # the column form_key: Django refuses forms with the name of an uneditable column
        label="",
        widget=forms.HiddenInput,
        initial=lambda: uuid.uuid4().hex,
        validators=[RegexValidator(r"^[0-9a-f]{32}\Z")],
    )

    class Meta:
        model = ApiToken
        fields = ("name", *PURPOSES, "reach", "corps", "subscriptions", *SENDING_FIELDS)
        field_classes = {"send_departments": DepartmentsField}
        widgets = {
            **dict.fromkeys(["reach", "sends_to"], forms.RadioSelect),
            **dict.fromkeys(["corps", "send_corps"], forms.CheckboxSelectMultiple),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "corps" not in fields:  # saved tokens have no form
            return
        fields["corps"].queryset = Corp.objects.visible_to(self.person).order_by("name")
        fields["subscriptions"].queryset = Subscription.objects.visible_to(self.person)
        # All permissions start unchecked, so that none is granted by oversight.
        self.initial.update(dict.fromkeys(PURPOSES, False))
        # The token of people limited to some companies must not reach companies that they are given later.
        if not sees_rows_without_corp(self.person):
            fields["reach"].choices = [one for one in Reach.choices if one[0] != Reach.EVERYTHING]
            fields["sends_to"].choices = [one for one in SendReach.choices if one[0] != SendReach.EVERYONE]
        fields["send_corps"].queryset = Corp.objects.visible_to(self.person).order_by("name")
        fields["send_users"].queryset = find_visible_people(self.person)
        fields["send_departments"].offer_departments(seen_by=self.person, chosen=[])
        fields["allows_private_addresses"].disabled = not self.person.is_superuser
        for name in ("sends_to", "daily_limit"):
            fields[name].required = False

    def clean_page_key(self) -> str:
        key: str = self.cleaned_data["page_key"]
        if ApiToken.objects.filter(form_key=key).exists():
            raise ValidationError(MADE_ALREADY)
        return key

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not any(cleaned.get(name) for name in (*PURPOSES, "may_send")):
            raise ValidationError(_("Choose at least one thing that the token may do."))
        reach, is_sending = cleaned.get("reach"), bool(cleaned.get("may_send"))
        sends_to = cleaned["sends_to"] = (is_sending and cleaned.get("sends_to")) or SendReach.CORPS
        if cleaned.get("daily_limit") is None:
            cleaned["daily_limit"] = ApiToken._meta.get_field("daily_limit").default
        if cleaned.get("may_alert") and reach == Reach.SUBSCRIPTIONS:
            self.add_error("reach", _("Alert rules belong to companies: let the token reach companies, or everything."))
        # A token that only sends messages needs neither companies nor pushes here.
        has_purpose = any(cleaned.get(name) for name in PURPOSES)
        self._clean_lists(cleaned, REACH_LISTS, reach, is_needed=has_purpose)
        self._clean_lists(cleaned, SEND_LISTS, sends_to if is_sending else "", is_needed=is_sending)
        return cleaned

    def _clean_lists(self, cleaned: dict[str, Any], lists: dict[Any, Any], scope: Any, *, is_needed: bool) -> None:
        """Require at least one row in the lists of the chosen scope, and clear the lists of the other scopes, which
        would look like limits. `lists`: the fields of each scope, and the error if they are empty."""
        chosen, sentence = lists.get(scope, ((), ""))
        for name in (name for names, _sentence in lists.values() for name in names):
            if name in cleaned and name not in chosen:
                cleaned[name] = cleaned[name].none()
        if is_needed and chosen and not any(cleaned.get(name) for name in chosen):
            self.add_error(chosen[0], sentence)

    def save(self, commit: bool = True) -> ApiToken:
        self.instance.owner = self.person
        self.instance.form_key = self.cleaned_data["page_key"]
        self.instance.expires_at = timezone.now() + timedelta(days=self.cleaned_data["days"])
        token: ApiToken = super().save(commit=commit)
        return token


MADE_ALREADY = _(
    "This page has created a token already. Its secret is shown once: revoke the token if you did not save it."
)
_REVOKE = "notifications.change_apitoken"
LISTED_AT_MOST = 50


def _show_beginning(token: ApiToken) -> SafeString:
    return format_html("<code>{}…</code>", token.prefix)


@admin.register(ApiToken)
class ApiTokenAdmin(base.SuccessorPage, ConfirmedChanges, base.RecipientsMixin, RowsAdmin):
    empty_list = _(
        "With a token another system runs pushes over the HTTP API, for example after a data update. Until it expires "
        "or is revoked, it has those of your own rights that you give it."
    )
    form = ApiTokenForm
    # Revoking must be quick and grants nothing, so it needs no confirmation of identity.
    unconfirmed_pages = frozenset({"notifications_apitoken_revoke"})
    change_form_template = "admin/notifications/api_token.html"
    list_display = (
        *("name", Column("begins_with", _("begins with"), _show_beginning), "owner", "purposes", "reach", "state"),
        Column("last_used", _("last used"), lambda token: token.last_used_at, ordering="last_used_at"),
    )
    list_select_related = ("owner",)
    search_fields = ("name", "prefix")
    autocomplete_fields = ("subscriptions", "send_users", "send_groups")
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "page_key")}),
        (_("Purpose"), {"fields": PURPOSES}),
        (_("Scope"), {"fields": ("reach", "corps", "subscriptions")}),
        (_("Messages"), {"fields": SENDING_FIELDS}),
        (_("Validity"), {"fields": ("days",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        return ApiToken.objects.visible_to(request.user)

    def get_urls(self) -> list[URLPattern]:
        return [*make_routes(self, {("<int:pk>/revoke/", "revoke"): self.revoke_view}), *super().get_urls()]

    @admin.display(description=_("may"))
    def purposes(self, token: ApiToken) -> str:
        words = {
            pgettext("API token", "run"): token.may_run,
            pgettext("API token", "read"): token.may_read,
            pgettext("API token", "check alert rules"): token.may_alert,
            pgettext("API token", "send messages"): token.may_send,
        }
        return gettext(", ").join(word for word, is_given in words.items() if is_given)

    @admin.display(description=_("status"))
    def state(self, token: ApiToken) -> SafeString:
        if token.revoked_at is not None:
            return show_state(State.DISABLED, gettext("revoked"))
        if token.expires_at <= timezone.now():
            return show_state(State.DISABLED, gettext("expired"))
        if not (token.owner.is_active and token.owner.is_staff):
            return show_state(State.FAILED, gettext("its owner was disabled"))
        day = f"{timezone.localtime(token.expires_at):%Y-%m-%d}"
        return show_state(State.FINE, gettext("until %(day)s") % {"day": day})

    def get_form(self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        return base.set_form_person(
            form, request, ["corps", "subscriptions", "send_corps", "send_users", "send_groups"]
        )

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        # One button only: the next page always shows the secret.
        try:
            return super().add_view(request, form_url, {**(extra_context or {}), **ONE_SAVE_BUTTON})
        except IntegrityError:  # submitted again before the first request was done
            messages.warning(request, MADE_ALREADY)
            return HttpResponseRedirect(reverse("admin:notifications_apitoken_changelist"))

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        # The attribute is only for response_add, which shows the secret. It is stored nowhere.
        obj.secret = tokens.make_secret(obj, now=timezone.now())  # type: ignore[attr-defined]  # see above
        obj.save()

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret, for the only time. Browsers do not cache the page."""
        secret: str = obj.secret  # type: ignore[attr-defined]  # set by save_model
        context = {
            "title": gettext("The token was created"),
            "token": obj,
            "secret": secret,
            "signing_secret": obj.signing_secret,
        }
        return show_page(self, request, "admin/notifications/api_token_made.html", context)

    def get_fieldsets(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """Return no fields for a saved token, whose page shows facts instead of a form."""
        return super().get_fieldsets(request, obj) if obj is None else ()

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Forbid changes, as another system relies on the token: revoke it and create another one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    def describe_row(self, request: HttpRequest, token: ApiToken) -> dict[str, Any]:
        may_revoke = request.user.has_perm(_REVOKE) and token.revoked_at is None
        return {"facts": _list_facts(token, self, request), "token": token, "may_revoke": may_revoke}

    def list_row_actions(self, request: HttpRequest, token: ApiToken) -> list[RowAction]:
        if token.revoked_at is not None or not request.user.has_perm(_REVOKE):
            return []
        return [RowAction("off", _("Revoke…"), reverse("admin:notifications_apitoken_revoke", args=[token.pk]))]

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for confirmation, then revoke the token."""
        token = find_row(self, request, pk, to_change=False)
        if not request.user.has_perm(_REVOKE):
            raise PermissionDenied
        if request.method != "POST":
            context = {"title": gettext("Revoke the token"), "token": token, "facts": _list_facts(token, self, request)}
            return show_page(self, request, "admin/notifications/api_token_revoke.html", context)
        if tokens.revoke(token, now=timezone.now()):
            messages.success(request, gettext("The token was revoked: it does not work any more."))
        else:
            messages.info(request, gettext("It was revoked already."))
        return HttpResponseRedirect(reverse("admin:notifications_apitoken_change", args=[token.pk]))


def _list_facts(token: ApiToken, model_admin: ApiTokenAdmin, request: HttpRequest) -> list[tuple[Any, Any]]:
    """Return labels and values for the page of a token. Values about pushes or messages are left out if the token may
    not use them."""
    facts: list[tuple[Any, Any]] = [
        (_("name"), token.name),
        (_("begins with"), _show_beginning(token)),
        (_("owner"), describe_owner(token, base.get_administrator(request))),
        (_("may"), model_admin.purposes(token)),
    ]
    if any(getattr(token, name) for name in PURPOSES):
        names, _sentence = REACH_LISTS.get(Reach(token.reach), ((), ""))
        facts.append((_("reaches"), _show_rows(token, token.get_reach_display(), names)))
    if token.may_send:
        counts = {"sent": count_sent_today(token, now=timezone.now()), "limit": token.daily_limit}
        names, _sentence = SEND_LISTS.get(SendReach(token.sends_to), ((), ""))
        is_allowed = gettext("yes") if token.allows_private_addresses else gettext("no")
        facts += [
            (_("messages to"), _show_rows(token, SendReach(token.sends_to).label, names)),
            (_("messages today"), gettext("%(sent)d of %(limit)d") % counts),
            (_("webhooks may go into the internal network"), is_allowed),
        ]
    return [
        *facts,
        (_("status"), model_admin.state(token)),
        (_("created"), format_moment(token.created_at)),
        (_("expires"), format_moment(token.expires_at)),
        (_("last used"), format_moment(token.last_used_at)),
        (_("last used from"), token.last_used_from or "—"),
        *([] if token.revoked_at is None else [(_("revoked"), format_moment(token.revoked_at))]),
    ]


def _show_rows(token: ApiToken, words: object, names: Iterable[str]) -> SafeString:
    """Show `words`, and below them the first rows of the token's relations `names`."""
    rows = [row for name in names for row in getattr(token, name).order_by("pk")[:LISTED_AT_MOST]]
    return format_html_join("", "<div>{}</div>", ((str(line),) for line in (words, *rows)))
