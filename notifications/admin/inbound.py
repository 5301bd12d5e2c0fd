"""Admin pages of inbound channels (address, secret, mapping, calls) and of incoming messages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_POST, require_safe

from accounts.admin.base import Column, RowsAdmin, moment
from accounts.users.roles import people_visible_to
from integrations.admin.base import ONE_SAVE_BUTTON, own_page, pill
from integrations.core.admin_pages import VERSION, ConfirmedChanges
from integrations.core.background import database_now
from integrations.core.sentences import translate_stored
from integrations.models import SiteAddress
from integrations.models.fields import UNREADABLE_NOTE, Unreadable
from notifications.admin import inbound_form, log, resend
from notifications.admin.base import (
    RecipientsMixin,
    SuccessorPage,
    administrator,
    count_run_people,
    find_row,
    for_person,
    run_pill,
)
from notifications.admin.inbound_form import COMMON_FIELDS, TEMPLATES, ChannelForm, NewChannelForm
from notifications.admin.log import LogAdmin, LogFilter, format_support_lines
from notifications.admin.push.one_page import apply_pressed_button, list_problems, read_template
from notifications.delivery.rendering.preview import preview_message
from notifications.delivery.runs import statistics
from notifications.delivery.runs.ownership import describe_owner
from notifications.inbound import accept, calls, channels
from notifications.inbound.accept import is_main_of
from notifications.inbound.calls import CALLS_SHOWN
from notifications.inbound.channels import SCHEMES
from notifications.inbound.content import InboundError
from notifications.inbound.mail import html as mail_page
from notifications.inbound.mapping import OTHER, PRESETS, MappedMessage, tree_of
from notifications.inbound.payloads import Payload, read_alerts
from notifications.inbound.recipients import AddressKind, AddressProblem
from notifications.models import InboundCall, InboundChannel, Incident, IncomingMessage, Medium, Run
from notifications.models.inbound import senders
from notifications.reports.templates.merge_fields import PAYLOAD
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import Recipient
from notifications.tasks import enqueue_runs

if TYPE_CHECKING:
    from accounts.models import User


CALLS_BESIDE = 5
# Fields that are not folded.
FIRST = frozenset(
    {*("name", "title", "text", "recipient_kind", "recipient_path", "recipient_attribute", "departments", "users")}
)
_TONES = {
    InboundCall.Outcome.ACCEPTED: "good",
    InboundCall.Outcome.REFUSED: "bad",
    InboundCall.Outcome.WITHOUT_FILE: "warn",
}


@admin.register(InboundChannel)
class InboundChannelAdmin(SuccessorPage, ConfirmedChanges, RecipientsMixin, RowsAdmin):
    empty_list = _(
        "With an inbound channel another system sends messages to people in WeCom: by a call to an address, or by "
        "mail. It reaches only people whom its owner may reach."
    )
    unconfirmed_pages = frozenset({"notifications_inboundchannel_preview"})
    change_form_template = "admin/notifications/inboundchannel/change_form.html"
    list_display = ("name", "kind", "owner", "state", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "public_id")
    autocomplete_fields = ("users",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundChannel]:
        may_send = Exists(senders().filter(pk=OuterRef("owner")))
        return InboundChannel.objects.visible_to(request.user).annotate(owner_may_send=may_send)

    def get_urls(self) -> list[URLPattern]:
        wrapped = self.admin_site.admin_view
        views = (
            ("<int:pk>/secret/", require_POST(self.renew_secret_view), "secret"),
            ("<int:pk>/calls/", self.calls_view, "calls"),
            ("<int:pk>/stamp/", self.stamp_view, "stamp"),
            ("<int:pk>/preview/", require_POST(self.preview_view), "preview"),
        )
        ours = [path(route, wrapped(view), name=f"notifications_inboundchannel_{name}") for route, view, name in views]
        return [*ours, *super().get_urls()]

    def get_form(
        self, request: HttpRequest, obj: InboundChannel | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = NewChannelForm if obj is None else self._form_of(request, obj)
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, ["corp", "users", "groups"])

    def _form_of(self, request: HttpRequest, channel: InboundChannel) -> type[ChannelForm]:
        """Return the form class. People with view permission only see just the fields that both kinds have."""
        is_mail = channel.kind == InboundChannel.Kind.MAIL and self.has_change_permission(request, channel)
        return inbound_form.MailChannelForm if is_mail else ChannelForm

    def get_fieldsets(self, request: HttpRequest, obj: InboundChannel | None = None) -> Any:
        """Return the mapping's fields for a webhook, the rules' for a mail channel; only common ones without change
        permission."""
        if obj is None:
            return [(None, {"fields": ("name", "kind", "preset")})]
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": COMMON_FIELDS})]
        return (
            super().get_fieldsets(request, obj) if obj.kind == InboundChannel.Kind.WEBHOOK else inbound_form.FIELDSETS
        )

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, channel: InboundChannel) -> SafeString:
        if not (channel.owner.is_active and channel.owner.is_staff):
            return pill("bad", gettext("its owner was disabled"))
        if not channel.owner_may_send:  # type: ignore[attr-defined]  # of get_queryset
            return pill("bad", gettext("its owner may not send messages"))
        return pill("good", gettext("enabled")) if channel.is_enabled else pill("quiet", gettext("not enabled"))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Offer one save button, because the next page always shows the secret."""
        return super().add_view(request, form_url, {**(extra_context or {}), **ONE_SAVE_BUTTON})

    # --- The page -----------------------------------------------------------------------------------------------------

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        if request.method == "POST":
            channel = self.get_object(request, unquote(object_id)) if object_id else None
            apply_pressed_button(request, channel)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def row_context(self, request: HttpRequest, channel: InboundChannel) -> dict[str, Any]:
        if not self.has_change_permission(request, channel):
            return {}
        is_webhook = channel.kind == InboundChannel.Kind.WEBHOOK
        facts = _list_webhook_facts(channel) if is_webhook else _list_mail_facts(channel)
        return {**facts, "owner": describe_owner(channel, administrator(request))}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("is_channel_page"):
            form = context["adminform"].form
            is_sent = request.method == "POST"
            context["problems"] = list(list_problems((form,), ())) if is_sent else []
            context["errors"] = None  # replaces Django's line with our list
            context["has_advanced_errors"] = is_sent and bool(set(form.errors) - FIRST)
        return super().render_change_form(request, context, *args, **kwargs)

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Preview the submitted form on the last payload. Saves and sends nothing."""
        channel = self._changeable(request, pk)
        form = self.get_form(request, channel, change=True)(request.POST, instance=channel)
        form.fields.pop(VERSION, None)  # concurrent changes are reported only on saving
        form.is_valid()
        return JsonResponse(preview_form(request, channel, form, now=timezone.now()))

    def stamp_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Return the time of the last payload. The page polls it every few seconds."""
        last = calls.last_payload(self._changeable(request, pk), now=timezone.now())
        return JsonResponse({"stamp": "" if last is None else last[1].isoformat()})

    def calls_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """List the last calls with outcomes, without payloads and secrets."""
        channel = find_row(request, self.get_queryset(request), pk, self.has_view_permission)
        lines = list_calls(channel, CALLS_SHOWN)
        context = {"title": gettext("The last 50 calls"), "channel": channel, "calls": lines}
        return own_page(self, request, "admin/notifications/inboundchannel/calls.html", context)

    # --- Saving -------------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: InboundChannel, form: Any, change: bool) -> None:
        if not change or "scheme" in form.changed_data:
            # Only for the response, which shows the secret once. It is stored nowhere in plain text.
            obj.shown_secret = channels.renew_secret(obj)  # type: ignore[attr-defined]  # see above
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: InboundChannel, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._secret_page(request, obj, obj.shown_secret)  # type: ignore[attr-defined]  # set by save_model

    def response_change(self, request: HttpRequest, obj: InboundChannel) -> HttpResponse:
        if "_try" in request.POST and not obj.is_alert:
            self._send_trial(request, obj)
        secret: str = getattr(obj, "shown_secret", "")
        if secret:
            return self._secret_page(request, obj, secret)
        if obj.kind == InboundChannel.Kind.WEBHOOK:
            messages.success(request, gettext("The channel was saved."))
            return HttpResponseRedirect(reverse("admin:notifications_inboundchannel_change", args=[obj.pk]))
        return super().response_change(request, obj)

    def _send_trial(self, request: HttpRequest, channel: InboundChannel) -> None:
        """Send the message of the last payload to the administrator only."""
        now, person = database_now(), administrator(request)
        last = calls.last_payload(channel, now=now)
        if last is None:
            messages.warning(request, gettext("Nothing came in within the last hour that could be sent to you."))
            return
        try:
            mapped = calls.map_payload(channel, last[0], now=now)
            if mapped is None:
                messages.warning(request, gettext("The condition does not hold for this payload."))
                return
            key = calls.key_of(channel, f"trial {uuid.uuid4().hex}")
            incoming = calls.incoming_of(channel, mapped, key=key, only_user_id=person.pk)
            found = accept.accept(incoming, now=now)
        except InboundError as error:
            messages.error(request, str(error.sentence))
            return
        enqueue_runs(found.run_ids)
        messages.success(request, gettext("It is on its way to you. Pictures behind addresses are left out."))

    # --- The secret: shown once, on a response that browsers do not cache ---------------------------------------------

    def renew_secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Replace a secret that was lost or leaked, and show the new one."""
        channel = self._changeable(request, pk)
        secret = channels.renew_secret(channel)
        channel.save(update_fields=["secret", "digest"])
        self.log_change(request, channel, gettext("Gave it another secret."))
        return self._secret_page(request, channel, secret)

    def _secret_page(self, request: HttpRequest, channel: InboundChannel, secret: str) -> HttpResponse:
        scheme = SCHEMES[channel.scheme]
        address = build_call_address(channel)
        context = {
            "title": gettext("Address and secret"),
            "channel": channel,
            "secret": secret,
            "scheme": scheme,
            "sender": PRESETS.get(channel.preset),
            "address": f"{address}?{scheme.name}={secret}" if scheme.where == "query" else address,
        }
        if channel.kind == InboundChannel.Kind.MAIL:
            context |= _list_mail_facts(channel)
        return own_page(self, request, "admin/notifications/inboundchannel/secret.html", context)

    def _changeable(self, request: HttpRequest, pk: int) -> InboundChannel:
        """Return a visible channel that the person may change. Raises PermissionDenied or Http404 otherwise."""
        channels = self.get_queryset(request).select_related("owner", "corp")
        channel: InboundChannel = find_row(request, channels, pk, self.has_change_permission)
        return channel


def _list_webhook_facts(channel: InboundChannel) -> dict[str, Any]:
    return {
        "is_channel_page": True,
        "channel": channel,
        "sender": PRESETS.get(channel.preset, PRESETS[OTHER]),
        "scheme": SCHEMES[channel.scheme],
        "unreadable": UNREADABLE_NOTE if isinstance(channel.secret, Unreadable) else "",
        "address": build_call_address(channel),
        "calls": list_calls(channel, CALLS_BESIDE),
    }


def _list_mail_facts(channel: InboundChannel) -> dict[str, Any]:
    return {
        "channel": channel,
        "server_facts": inbound_form.list_server_facts(channel.public_id),
        "is_door_open": inbound_form.is_door_open(),
        "calls": list_calls(channel, CALLS_BESIDE),
    }


def build_call_address(channel: InboundChannel) -> str:
    return SiteAddress.objects.default().absolute(reverse("inbound", args=[channel.public_id]))


def list_calls(channel: InboundChannel, at_most: int) -> list[dict[str, Any]]:
    """Return the newest calls, each with outcome, reason, and URL of the run of its message."""
    rows = list(InboundCall.objects.filter(channel=channel).newest_first()[:at_most])
    named = [row.message_id for row in rows if row.message_id is not None]
    runs = Run.objects.filter(message__in=named).order_by("-pk").values_list("message", "pk")
    pages = {message: reverse("admin:notifications_run_change", args=[run]) for message, run in runs}
    return [
        {
            "last_at": timezone.localtime(row.last_at),
            "count": row.count,
            "pill": pill(_TONES.get(InboundCall.Outcome(row.outcome), "quiet"), row.get_outcome_display()),
            "reason": translate_stored(row.reason),
            "message_url": pages.get(row.message_id or 0, ""),
        }
        for row in rows
    ]


FOLDER = "admin/notifications/inboundchannel"
NAMED_AT_MOST, ALERTS_NAMED_AT_MOST = 8, 20


def preview_form(request: HttpRequest, channel: InboundChannel, form: ChannelForm, *, now: datetime) -> dict[str, Any]:
    """Return the JSON answer of the preview. `form` must be cleaned. `stamp` in the answer: the time of the last
    payload, empty without one."""
    last = calls.last_payload(channel, now=now)
    context = {
        "rows": [] if last is None else tree_of(last[0]),
        "at": None if last is None else last[1],
        "errors": list(dict.fromkeys(str(text) for texts in form.errors.values() for text in texts)),
        "trial": None if last is None else _try_payload(channel, form, last[0], now),
    }
    return {
        "folded": {},
        "waiting": "",
        "stamp": "" if last is None else last[1].isoformat(),
        "tree": render_to_string(f"{FOLDER}/_tree.html", context, request),
        "trial": render_to_string(f"{FOLDER}/_trial.html", context, request),
        "parts": {name: read_template(request.POST.get(name, ""), {PAYLOAD: ""}) for name in TEMPLATES},
        "sources": {name: request.POST.get(name, "") for name in TEMPLATES},
    }


def _try_payload(channel: InboundChannel, form: ChannelForm, payload: Payload, now: datetime) -> dict[str, Any]:
    """Return the template context of the submitted form's message over the payload, or the problem why there is
    none."""
    try:
        alerts = read_alerts(payload, now=now)[0] if channel.is_alert else []
        mapped = MappedMessage(IncomingMessage()) if channel.is_alert else calls.map_payload(channel, payload, now=now)
        if mapped is None:
            return {"is_left_out": True}
        is_limited = channel.reach == InboundChannel.Reach.CHOSEN
        # Use the people chosen in the form, which are not saved in the row yet.
        channel.reach, people = InboundChannel.Reach.EVERYONE, form.audience()
        incoming = calls.incoming_of(channel, mapped, key="preview", chosen=people)
        found = accept.preview(replace(incoming, among=people if is_limited else None))
        reached = [one for one in found.recipients if one.reason is None]
        unreached = [one for one in found.recipients if one.reason is not None]
        phone = preview_message(found.source, found.run, next(iter(reached), None), now=now).phone
    except (InboundError, RenderingError) as error:
        return {"problem": str(error.sentence)}
    return {
        "preview": phone,
        "message_count": found.message_count,
        "reached_count": len(reached),
        "reached": [name for name, _reason in _name_recipients(reached, form.person)],
        "unreached_count": len(unreached),
        "unreached": _name_recipients(unreached, form.person),
        "unknown": [address.value for address, _why in found.unknown[:NAMED_AT_MOST]],
        "refused": [str(one) for one in mapped.refused],
        "url_count": len(mapped.urls),
        "alerts": [_describe_alert(one) for one in alerts[:ALERTS_NAMED_AT_MOST]],
    }


def _describe_alert(alert: Incident) -> str:
    state = gettext("firing") if alert.ends_at is None else gettext("resolved")
    return f"{alert.title} · {alert.get_severity_display()} · {state}"


def _name_recipients(recipients: list[Recipient], seen_by: User) -> list[tuple[str, str]]:
    """Return names and reasons of the first recipients. Hides names that the person may not see."""
    first = recipients[:NAMED_AT_MOST]
    people = people_visible_to(seen_by).in_bulk([one.user_id for one in first])
    hidden = gettext("somebody whom you do not see")
    words = {one.user_id: "" if one.reason is None else str(one.reason.label) for one in first}
    return [(str(people.get(user_id, hidden)), reason) for user_id, reason in words.items()]


UNKNOWN_SHOWN = 100
_KINDS = {
    AddressKind.USER: _("user name"),
    AddressKind.USERID: _("WeCom account"),
    AddressKind.LOGIN_ID: "BI loginId",
    AddressKind.ACCOUNT: _("account at the mail door"),
    AddressKind.EMAIL: _("e-mail"),
    AddressKind.ATTRIBUTE: _("user attribute"),
    AddressKind.DEPARTMENT: _("department"),
    AddressKind.GROUP: _("group"),
}
_PROBLEMS = {
    AddressProblem.UNKNOWN: _("unknown, or out of the sender’s reach"),
    AddressProblem.AMBIGUOUS: _("several people have it"),
}
_INCOMING_TONES = {"waiting": "quiet", "delivered": "good", "given_up": "bad"}


class MessageFilter(LogFilter):
    has_words = False
    selects = {
        "origin__exact": (_("came by"), IncomingMessage.Origin.choices),
        "callback_state__exact": (_("webhook"), IncomingMessage.Callback.choices),
    }


def _show_webhook(message: IncomingMessage) -> SafeString | str:
    if not message.callback_state:
        return "—"
    return pill(_INCOMING_TONES[message.callback_state], message.get_callback_state_display())


@admin.register(IncomingMessage)
class IncomingMessageAdmin(LogAdmin):
    search_rows = staticmethod(log.search_messages)
    empty_list = _("What other systems send to people stands here: over the HTTP API, by mail or through a channel.")
    change_form_template = "admin/notifications/incoming_message.html"
    columns = (
        Column("title", _("title"), lambda one: one.title),
        Column("sender", _("from"), lambda one: one.origin_name),
        Column("came_by", _("came by"), lambda one: one.get_origin_display()),
        Column("form_shown", _("message form"), lambda one: one.get_form_display()),
        Column("person_count", _("person-messages"), lambda one: one.person_count),
        Column("unknown_count", _("not found"), lambda one: len(one.unknown)),
        Column("webhook", _("webhook"), lambda one: one.get_callback_state_display(), _show_webhook),
        Column("received", _("received"), lambda one: one.created_at),
    )
    list_filter = (MessageFilter,)
    search_fields = ("title",)
    search_help_text = _("title")
    show_full_result_count = False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_safe(self.mail_view))
        return [path("<int:pk>/mail/", view, name="notifications_incomingmessage_mail"), *super().get_urls()]

    @method_decorator(xframe_options_sameorigin)
    def mail_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the whole mail, for a frame on the message's page."""
        message = find_row(request, self.get_queryset(request), pk, self.has_view_permission)
        return mail_page.page_of(message.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[IncomingMessage]:
        seen = IncomingMessage.objects.visible_to(request.user).select_related("token", "channel", "corp")
        return seen.defer(
            "original", "page", "callback_url", "token__signing_secret", "channel__secret", "channel__mapping"
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Forbid adding by a page: this permission allows sending a message with an API token."""
        return False

    def row_context(self, request: HttpRequest, message: IncomingMessage) -> dict[str, Any]:
        runs = list(
            Run.objects.visible_to(request.user).filter(message=message).select_related("resends").order_by("pk")
        )
        files = dict(Medium.objects.filter(run__in=runs).values_list("run", "name"))
        return {
            "title": message.title,
            "subtitle": None,
            "message": message,
            "is_mail": message.origin == IncomingMessage.Origin.MAIL,
            "sandbox": " ".join(mail_page.SANDBOX),
            "facts": [*_list_facts(self, message), *_list_callback_facts(message)],
            "runs": [
                {
                    "url": reverse("admin:notifications_run_change", args=[run.pk]),
                    "name": message.title if is_main_of(message, run) else files.get(run.first_sent.pk),
                    "trigger": run.get_trigger_display(),
                    "state": run_pill(run),
                    **dict(zip(("recipients", "skipped"), count_run_people(run), strict=True)),
                    "why": run.error_text,
                }
                for run in runs
            ],
            "unknown": list(_describe_unknown(message)),
            **(resend.list_actions(request, runs[0]) if runs else {}),
            "technical": format_support_lines([(gettext("number"), message.pk), ("key", message.key)]),
        }


def _list_facts(shown: IncomingMessageAdmin, message: IncomingMessage) -> list[tuple[Any, Any]]:
    counts = statistics.count_message(message.pk)
    facts: list[tuple[Any, Any]] = [
        (_("from"), message.token or message.origin_name),
        *shown.facts(message, "came_by", "received", "form_shown"),
        (_("priority"), message.get_priority_display()),
        (_("person-messages"), message.person_count),
        (_("accepted"), counts.accepted),
        (_("refused or canceled"), counts.refused),
        (_("outcome unknown"), counts.unknown),
        (_("waiting"), counts.waiting),
    ]
    if message.corp is not None:
        facts.append((_("only for the company"), message.corp.name))
    if message.link:
        facts.append((_("link"), message.link))
    if message.figures:
        lines = ((f"{caption}: {words}",) for caption, words in message.figures)
        facts.append((_("key figures"), format_html_join("", "<div>{}</div>", lines)))
    return facts


def _list_callback_facts(message: IncomingMessage) -> list[tuple[Any, Any]]:
    if not message.callback_state:
        return []
    facts: list[tuple[Any, Any]] = [(_("webhook"), _show_webhook(message)), (_("attempts"), message.callback_count)]
    if message.callback_state == IncomingMessage.Callback.WAITING:
        facts.append((_("next attempt"), moment(message.callback_after)))
    return [*facts, (_("error of the webhook"), message.callback_error_text)] if message.callback_error else facts


def _describe_unknown(message: IncomingMessage) -> Iterator[tuple[str, str, str]]:
    """Yield kind, value and reason for each unknown recipient."""
    for one in message.unknown[:UNKNOWN_SHOWN]:
        words = " · ".join(filter(None, (one.get("value"), one.get("attribute"), one.get("corp"))))
        yield str(_KINDS[AddressKind(one["kind"])]), words, str(_PROBLEMS[AddressProblem(one["reason"])])
