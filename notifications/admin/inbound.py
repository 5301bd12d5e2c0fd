"""Admin pages of inbound channels (address, secret, mapping, calls) and of incoming messages."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_POST, require_safe

from accounts.admin.base import Column, RowsAdmin, format_moment
from accounts.audit import signals
from accounts.models import User
from accounts.users.roles import find_visible_people
from integrations.admin.base import ONE_SAVE_BUTTON, RowAction, State, find_row, make_routes, show_page, show_state
from integrations.core.admin_pages import VERSION, ConfirmedChanges
from integrations.core.background import database_now
from integrations.core.sentences import translate_stored
from integrations.models import SiteAddress
from integrations.models.fields import UNREADABLE_NOTE, Unreadable
from notifications.admin import base, inbound_form, log, resend
from notifications.admin.inbound_form import COMMON_FIELDS, TEMPLATES, ChannelForm, NewChannelForm
from notifications.admin.push.one_page import ButtonsPage, list_problems, read_template
from notifications.admin.subscription_forms import build_audience
from notifications.delivery.rendering.preview import preview_message
from notifications.delivery.runs import statistics
from notifications.delivery.runs.ownership import describe_owner
from notifications.inbound import accept, calls, channels
from notifications.inbound.accept import is_main_run
from notifications.inbound.calls import CALLS_SHOWN
from notifications.inbound.channels import SCHEMES
from notifications.inbound.content import InboundError
from notifications.inbound.mail import html as mail_page
from notifications.inbound.mapping import LINES_AT_MOST, OTHER, PRESETS, MappedMessage, list_payload_lines, map_payload
from notifications.inbound.payloads import Payload, read_alerts
from notifications.inbound.recipients import AddressKind, AddressProblem
from notifications.models import InboundCall, InboundChannel, IncomingMessage, Medium, Run
from notifications.models.inbound import find_senders
from notifications.reports.templates.merge_fields import PAYLOAD
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import Recipient
from notifications.tasks import enqueue_runs

FOLDER = "admin/notifications/inboundchannel"
CALLS_BESIDE_FORM = 5
# Fields outside of the collapsed section.
MAIN_FIELDS = {"name", *TEMPLATES, "recipient_kind", "recipient_path", "recipient_attribute", "departments", "users"}

signals.describe_field(InboundChannel, "scheme", lambda name: str(SCHEMES[name].label))
signals.describe_field(InboundChannel, "preset", lambda name: str(PRESETS[name].label))


@admin.register(InboundChannel)
class InboundChannelAdmin(base.SuccessorPage, ConfirmedChanges, ButtonsPage, base.RecipientsMixin, RowsAdmin):
    empty_list = _(
        "With an inbound channel another system sends messages to people in WeCom: by a call to an address, or by "
        "mail. It reaches only people whom its owner may reach."
    )
    unconfirmed_pages = frozenset({"notifications_inboundchannel_preview"})
    change_form_template = f"{FOLDER}/change_form.html"
    list_display = ("name", "kind", "owner", "state", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "public_id")
    autocomplete_fields = ("users",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundChannel]:
        may_send = Exists(find_senders().filter(pk=OuterRef("owner")))
        return InboundChannel.objects.visible_to(request.user).annotate(owner_may_send=may_send)

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], Any] = {
            ("<int:pk>/secret/", "secret"): require_POST(self.renew_secret_view),
            ("<int:pk>/calls/", "calls"): self.calls_view,
            ("<int:pk>/stamp/", "stamp"): self.stamp_view,
            ("<int:pk>/preview/", "preview"): require_POST(self.preview_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def get_form(
        self, request: HttpRequest, obj: InboundChannel | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = NewChannelForm if obj is None else ChannelForm
        # People who may only view see just the fields that both kinds have.
        if obj is not None and obj.kind == InboundChannel.Kind.MAIL and self.has_change_permission(request, obj):
            kwargs["form"] = inbound_form.MailChannelForm
        return base.set_form_person(
            super().get_form(request, obj, change=change, **kwargs), request, ["corp", "users", "groups"]
        )

    def get_fieldsets(self, request: HttpRequest, obj: InboundChannel | None = None) -> Any:
        """Return the fields of the mapping for a webhook and of the rules for a mail channel. People without change
        permission get the common fields only."""
        if obj is None:
            return [(None, {"fields": ("name", "kind", "preset")})]
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": COMMON_FIELDS})]
        if obj.kind == InboundChannel.Kind.MAIL:
            return inbound_form.MAIL_FIELDSETS
        return super().get_fieldsets(request, obj)

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, channel: InboundChannel) -> SafeString:
        if not (channel.owner.is_active and channel.owner.is_staff):
            return show_state(State.FAILED, gettext("its owner was disabled"))
        if not channel.owner_may_send:  # type: ignore[attr-defined]  # annotated in get_queryset
            return show_state(State.FAILED, gettext("its owner may not send messages"))
        return show_state(State.FINE if channel.is_enabled else State.DISABLED)

    def list_row_actions(self, request: HttpRequest, channel: InboundChannel) -> list[RowAction]:
        url = reverse("admin:notifications_inboundchannel_calls", args=[channel.pk])
        return [RowAction("log", _("The last 50 calls"), url)]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Offer one save button, because the next page always shows the secret."""
        return super().add_view(request, form_url, {**(extra_context or {}), **ONE_SAVE_BUTTON})

    def describe_row(self, request: HttpRequest, channel: InboundChannel) -> dict[str, Any]:
        if not self.has_change_permission(request, channel):
            return {}
        return {**_describe_channel(channel), "owner": describe_owner(channel, base.get_administrator(request))}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None and row.kind == InboundChannel.Kind.WEBHOOK and self.has_change_permission(request, row):
            form = context["adminform"].form
            is_submitted = request.method == "POST"
            context["problems"] = list(list_problems((form,))) if is_submitted else []
            context["errors"] = None  # replaces Django's line with our list
            context["has_advanced_errors"] = is_submitted and bool(form.errors.keys() - MAIN_FIELDS)
        answer: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return answer

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Preview the submitted form on the last payload. Saves and sends nothing. `stamp` in the answer: the time of
        the last payload, empty without one."""
        channel, now = find_row(self, request, pk, to_change=True), timezone.now()
        form = self.get_form(request, channel, change=True)(request.POST, instance=channel)
        form.fields.pop(VERSION, None)  # concurrent changes are reported only on saving
        form.is_valid()
        last = calls.find_last_payload(channel, now=now)
        context = {
            "rows": [] if last is None else list(islice(list_payload_lines(last[0]), LINES_AT_MOST)),
            "at": None if last is None else last[1],
            "errors": list(dict.fromkeys(str(text) for texts in form.errors.values() for text in texts)),
            "trial": None if last is None else _try_payload(channel, form, last[0], now),
        }
        answer = {
            "summaries": {},  # one_page.js expects it and `waiting`; this page shows neither
            "waiting": "",
            "stamp": "" if last is None else last[1].isoformat(),
            "tree": render_to_string(f"{FOLDER}/_tree.html", context, request),
            "trial": render_to_string(f"{FOLDER}/_trial.html", context, request),
            "parts": {name: read_template(request.POST.get(name, ""), {PAYLOAD: ""}) for name in TEMPLATES},
            "sources": {name: request.POST.get(name, "") for name in TEMPLATES},
        }
        return JsonResponse(answer)

    def stamp_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Return the time of the last payload. The page polls it every few seconds."""
        last = calls.find_last_payload(find_row(self, request, pk, to_change=True), now=timezone.now())
        return JsonResponse({"stamp": "" if last is None else last[1].isoformat()})

    def calls_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """List the last calls with outcomes, without payloads and secrets."""
        channel = find_row(self, request, pk, to_change=False)
        lines = list_calls(channel, CALLS_SHOWN)
        context = {"title": gettext("The last 50 calls"), "channel": channel, "calls": lines}
        return show_page(self, request, f"{FOLDER}/calls.html", context)

    def save_model(self, request: HttpRequest, obj: InboundChannel, form: Any, change: bool) -> None:
        if not change or "scheme" in form.changed_data:
            # Only for the response, which shows the secret once. It is stored nowhere in plain text.
            obj.shown_secret = channels.renew_secret(obj)  # type: ignore[attr-defined]  # see above
        if not change:
            super().save_model(request, obj, form, change)
            return
        # Calls and notices write these columns meanwhile; another administrator may have renewed the secret.
        left_out = {"id", "gather_until", "last_payload", "last_payload_at"}
        if "scheme" not in form.changed_data:
            left_out |= {"secret", "digest"}
        obj.save(update_fields={field.name for field in obj._meta.concrete_fields} - left_out)

    def response_add(
        self, request: HttpRequest, obj: InboundChannel, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_secret(request, obj, obj.shown_secret)  # type: ignore[attr-defined]  # set by save_model

    def response_change(self, request: HttpRequest, obj: InboundChannel) -> HttpResponse:
        if "_try" in request.POST and not obj.is_alert:
            self._send_trial(request, obj)
        secret: str = getattr(obj, "shown_secret", "")
        if secret:
            return self._show_secret(request, obj, secret)
        if obj.kind == InboundChannel.Kind.WEBHOOK:
            messages.success(request, gettext("The channel was saved."))
            return HttpResponseRedirect(reverse("admin:notifications_inboundchannel_change", args=[obj.pk]))
        return super().response_change(request, obj)

    def _send_trial(self, request: HttpRequest, channel: InboundChannel) -> None:
        """Send the message of the last payload to the administrator only."""
        now, person = database_now(), base.get_administrator(request)
        last = calls.find_last_payload(channel, now=now)
        if last is None:
            messages.warning(request, gettext("Nothing came in within the last hour that could be sent to you."))
            return
        try:
            mapped = map_payload(channel, last[0], now=now)
            if mapped is None:
                messages.warning(request, gettext("The condition does not hold for this payload."))
                return
            key = calls.make_message_key(channel, f"trial {uuid.uuid4().hex}")
            incoming = calls.make_incoming(channel, mapped, key=key, only_user_id=person.pk)
            found = accept.accept_message(incoming, now=now)
        except InboundError as error:
            messages.error(request, str(error.sentence))
            return
        enqueue_runs(found.run_ids)
        messages.success(request, gettext("It is on its way to you. Pictures behind addresses are left out."))

    def renew_secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Replace a secret that was lost or leaked, and show the new one."""
        channel = find_row(self, request, pk, to_change=True)
        secret = channels.renew_secret(channel)
        channel.save(update_fields=["secret", "digest"])
        self.log_change(request, channel, gettext("Gave it another secret."))
        return self._show_secret(request, channel, secret)

    def _show_secret(self, request: HttpRequest, channel: InboundChannel, secret: str) -> HttpResponse:
        context = {**_describe_channel(channel), "title": gettext("Address and secret"), "secret": secret}
        if (scheme := SCHEMES[channel.scheme]).where == "query":
            context["address"] += f"?{scheme.name}={secret}"
        return show_page(self, request, f"{FOLDER}/secret.html", context)


def _describe_channel(channel: InboundChannel) -> dict[str, Any]:
    """Return the template context of a channel: what to enter at the sender, and its last calls."""
    context: dict[str, Any] = {"channel": channel, "calls": list_calls(channel, CALLS_BESIDE_FORM)}
    if channel.kind == InboundChannel.Kind.MAIL:
        domain = settings.MAIL_DOOR_DOMAINS[0]
        encryption = "SSL/TLS" if settings.MAIL_DOOR_TLS_FROM_START else "STARTTLS"
        # What to enter at the sender, except the password.
        context["server_facts"] = [
            (gettext("Mail server (SMTP)"), gettext("the server on which the mail door runs")),
            (gettext("Port"), str(settings.MAIL_DOOR_LISTEN[1])),
            (gettext("Encryption"), encryption if settings.MAIL_DOOR_CERTIFICATE else gettext("none")),
            (capfirst(gettext("user name")), channel.public_id),
            (gettext("Recipients"), f"loginId@{domain}, userid@{domain}"),
        ]
        return {**context, "is_door_open": inbound_form.is_door_open()}
    return {
        **context,
        "is_channel_page": True,
        "sender": PRESETS.get(channel.preset, PRESETS[OTHER]),
        "scheme": SCHEMES[channel.scheme],
        "unreadable": UNREADABLE_NOTE if isinstance(channel.secret, Unreadable) else "",
        "address": SiteAddress.objects.default().absolute(reverse("inbound", args=[channel.public_id])),
    }


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
            "state": base.show_status(row.outcome, row.get_outcome_display()),
            "reason": translate_stored(row.reason),
            "message_url": pages.get(row.message_id or 0, ""),
        }
        for row in rows
    ]


NAMED_AT_MOST, ALERTS_NAMED_AT_MOST = 8, 20


def _try_payload(channel: InboundChannel, form: ChannelForm, payload: Payload, now: datetime) -> dict[str, Any]:
    """Return the template context of the message that the submitted form makes of the payload, or the reason why it
    makes none."""
    try:
        alerts = read_alerts(payload, now=now)[0] if channel.is_alert else []
        # An alert's text comes from its incident, so an empty message previews the recipients only.
        mapped = MappedMessage(IncomingMessage()) if channel.is_alert else map_payload(channel, payload, now=now)
        if mapped is None:
            return {"is_left_out": True}
        is_limited = channel.reach == InboundChannel.Reach.CHOSEN
        # The row would limit the reach to the people saved in it; `among` limits it to those chosen in the form.
        channel.reach, people = InboundChannel.Reach.EVERYONE, build_audience(form.cleaned_data, corp=None)
        incoming = calls.make_incoming(channel, mapped, key="preview", chosen=people)
        found = accept.preview_incoming(replace(incoming, among=people if is_limited else None))
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
        "alerts": [
            (one.title, one.get_severity_display(), gettext("firing") if one.ends_at is None else gettext("resolved"))
            for one in alerts[:ALERTS_NAMED_AT_MOST]
        ],
    }


def _name_recipients(recipients: list[Recipient], seen_by: User) -> list[tuple[str, str]]:
    """Return names and reasons of the first recipients. Hides names that the person may not see."""
    first = recipients[:NAMED_AT_MOST]
    people = find_visible_people(seen_by).in_bulk([one.user_id for one in first])
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
    AddressKind.ATTRIBUTE: _("attribute"),
    AddressKind.DEPARTMENT: _("department"),
    AddressKind.GROUP: _("group"),
}
_PROBLEMS = {
    AddressProblem.UNKNOWN: _("unknown, or out of the sender’s reach"),
    AddressProblem.AMBIGUOUS: _("several people have it"),
}


class MessageFilter(log.LogFilter):
    has_words = False  # no fields for a person and a push
    selects = {
        "origin__exact": (_("received by"), IncomingMessage.Origin.choices),
        "callback_state__exact": (_("webhook"), IncomingMessage.Callback.choices),
    }


@admin.register(IncomingMessage)
class IncomingMessageAdmin(log.LogAdmin):
    empty_list = _("Messages that other systems send to people are listed here: by HTTP API, mail or channel.")
    change_form_template = "admin/notifications/incoming_message.html"
    columns = (
        Column("title", _("title"), lambda one: one.title),
        Column("sender", _("from"), lambda one: one.origin_name),
        Column("came_by", _("received by"), lambda one: one.get_origin_display()),
        Column("form_shown", _("message form"), lambda one: one.get_form_display()),
        Column("person_count", _("person-messages"), lambda one: one.person_count),
        Column("unknown_count", _("not found"), lambda one: len(one.unknown)),
        Column(
            "webhook",
            _("webhook"),
            lambda one: (
                base.show_status(one.callback_state, one.get_callback_state_display()) if one.callback_state else "—"
            ),
        ),
        Column("received", _("received"), lambda one: one.created_at),
    )
    list_filter = (MessageFilter,)
    search_fields = ("title",)
    search_help_text = _("title")
    show_full_result_count = False

    def search_rows(self, rows: QuerySet[IncomingMessage], words: str, seen_by: User) -> QuerySet[IncomingMessage]:
        return log.search_messages(rows, words)

    def get_urls(self) -> list[URLPattern]:
        return [*make_routes(self, {("<int:pk>/mail/", "mail"): require_safe(self.mail_view)}), *super().get_urls()]

    @method_decorator(xframe_options_sameorigin)
    def mail_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the whole mail, for a frame on the message's page."""
        return mail_page.answer_with_page(find_row(self, request, pk, to_change=False).pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[IncomingMessage]:
        seen = IncomingMessage.objects.visible_to(request.user).select_related("token", "channel", "corp")
        return seen.defer(
            *("original", "page", "callback_url", "token__signing_secret"),
            *("channel__secret", "channel__mapping", "channel__last_payload"),
        )

    def describe_row(self, request: HttpRequest, message: IncomingMessage) -> dict[str, Any]:
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
            "facts": _list_facts(self, message),
            "runs": [
                (
                    run,
                    message.title if is_main_run(message, run) else files.get(run.original_run.pk),
                    *(base.show_run_state(run), *base.count_run_people(run), run.error_text),
                )
                for run in runs
            ],
            # Kind, value and reason.
            "unknown": [
                (
                    _KINDS[AddressKind(one["kind"])],
                    " · ".join(filter(None, (one.get("value"), one.get("attribute"), one.get("corp")))),
                    _PROBLEMS[AddressProblem(one["reason"])],
                )
                for one in message.unknown[:UNKNOWN_SHOWN]
            ],
            **(resend.list_actions(request, runs[0]) if runs else {}),
            "technical": log.format_support_lines((gettext("number"), message.pk), ("key", message.key)),
        }


def _list_facts(model_admin: IncomingMessageAdmin, message: IncomingMessage) -> list[tuple[Any, Any]]:
    counts = statistics.count_outcomes("run__message", message.pk)
    figures = ((f"{caption}: {words}",) for caption, words in message.figures)
    facts: list[tuple[Any, Any]] = [
        (_("from"), message.token or message.origin_name),
        *model_admin.list_facts(message, "came_by", "received", "form_shown"),
        (_("priority"), message.get_priority_display()),
        (_("person-messages"), message.person_count),
        (_("accepted"), counts.accepted),
        (_("refused or canceled"), counts.refused),
        (_("outcome unknown"), counts.unknown),
        (_("waiting"), counts.waiting),
        *log.drop_empty_facts(
            (_("only for the company"), message.corp and message.corp.name),
            (_("link"), message.link),
            (_("key figures"), format_html_join("", "<div>{}</div>", figures)),
        ),
    ]
    if message.callback_state:
        is_waiting = message.callback_state == IncomingMessage.Callback.WAITING
        facts += [*model_admin.list_facts(message, "webhook"), (_("attempts"), message.callback_count)]
        facts += [(_("next attempt"), format_moment(message.callback_after))] if is_waiting else []
        facts += log.drop_empty_facts(
            (_("error of the webhook"), message.callback_error and message.callback_error_text)
        )
    return facts
