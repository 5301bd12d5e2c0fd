"""Admin pages of inbound channels: their address and secret, their mapping, and what came in."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from integrations.admin.base import ONE_SAVE_BUTTON, own_page, pill
from integrations.core.background import database_now
from integrations.core.generics import AnyModelAdmin
from integrations.core.page_versions import VERSION
from integrations.core.reauthentication import ConfirmedChanges
from integrations.core.sentences import shown
from integrations.models import SiteAddress
from integrations.models.fields import UNREADABLE_NOTE, Unreadable
from notifications.admin.base import RecipientsMixin, SuccessorPage, administrator, for_person
from notifications.admin.inbound import mail_form, page
from notifications.admin.inbound.form import COMMON_FIELDS, ChannelForm, NewChannelForm
from notifications.admin.push.one_page import apply_button, problems_of
from notifications.delivery.runs import ownership
from notifications.inbound import calls, channels
from notifications.inbound.calls import CALLS_SHOWN, CallRefusedError
from notifications.inbound.presets import OTHER, PRESETS
from notifications.inbound.signatures import SCHEMES
from notifications.models import InboundCall, InboundChannel, Run
from notifications.models.inbound import senders
from notifications.tasks import enqueue_runs

CALLS_BESIDE = 5
# Fields that are on the page at first; all others are folded.
FIRST = frozenset(
    {*("name", "title", "text", "recipient_kind", "recipient_path", "recipient_attribute", "departments", "users")}
)
_TONES = {
    InboundCall.Outcome.ACCEPTED: "good",
    InboundCall.Outcome.REFUSED: "bad",
    InboundCall.Outcome.WITHOUT_FILE: "warn",
}


@admin.register(InboundChannel)
class InboundChannelAdmin(SuccessorPage, ConfirmedChanges, RecipientsMixin, AnyModelAdmin):
    empty_list = _(
        "With an inbound channel another system sends messages to people in WeCom: by a call to an address, or by "
        "mail. It reaches only people whom its owner may reach."
    )
    # Looking at a preview changes nothing.
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
        """Whoever may only look gets the fields of both kinds alone."""
        is_mail = channel.kind == InboundChannel.Kind.MAIL and self.has_change_permission(request, channel)
        return mail_form.MailChannelForm if is_mail else ChannelForm

    def get_fieldsets(self, request: HttpRequest, obj: InboundChannel | None = None) -> Any:
        """A webhook has a mapping, a mail channel rules; only whoever may change it gets their fields."""
        if obj is None:
            return [(None, {"fields": ("name", "kind", "preset")})]
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": COMMON_FIELDS})]
        return super().get_fieldsets(request, obj) if obj.kind == InboundChannel.Kind.WEBHOOK else mail_form.FIELDSETS

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, channel: InboundChannel) -> SafeString:
        if not (channel.owner.is_active and channel.owner.is_staff):
            return pill("bad", gettext("its owner was disabled"))
        if not channel.owner_may_send:  # type: ignore[attr-defined]  # of get_queryset
            return pill("bad", gettext("its owner may not send messages"))
        return pill("good", gettext("enabled")) if channel.is_enabled else pill("quiet", gettext("not enabled"))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """One button: the page that follows shows the secret, whichever was pressed."""
        return super().add_view(request, form_url, {**(extra_context or {}), **ONE_SAVE_BUTTON})

    # --- The page -----------------------------------------------------------------------------------------------------

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        channel = self.get_object(request, unquote(object_id)) if object_id else None
        if request.method == "POST":
            apply_button(request, channel)
        extra: dict[str, Any] = {**(extra_context or {})}
        may = channel is not None and self.has_change_permission(request, channel)
        if channel is not None and may and channel.kind == InboundChannel.Kind.WEBHOOK:
            extra |= self._page_context(channel)
        elif channel is not None and may:
            extra |= _mail_context(channel)
        if channel is not None and may:
            extra["owner"] = ownership.owner_line(channel, administrator(request))
        return super().changeform_view(request, object_id, form_url, extra)

    def _page_context(self, channel: InboundChannel) -> dict[str, Any]:
        return {
            "is_channel_page": True,
            "channel": channel,
            "sender": PRESETS.get(channel.preset, PRESETS[OTHER]),
            "scheme": SCHEMES[channel.scheme],
            "unreadable": UNREADABLE_NOTE if isinstance(channel.secret, Unreadable) else "",
            "address": address_of(channel),
            "calls": call_lines(channel, CALLS_BESIDE),
        }

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("is_channel_page"):
            form = context["adminform"].form
            is_sent = request.method == "POST"
            context["problems"] = list(problems_of((form,), ())) if is_sent else []
            context["errors"] = None  # Django's line, in place of which the list stands
            context["has_advanced_errors"] = is_sent and bool(set(form.errors) - FIRST)
        return super().render_change_form(request, context, *args, **kwargs)

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The form as it stands on the last payload. Nothing is saved, nobody gets anything."""
        channel = self._changeable(request, pk)
        form = self.get_form(request, channel, change=True)(request.POST, instance=channel)
        form.fields.pop(VERSION, None)  # what others saved meanwhile is said when it is saved
        form.is_valid()
        state = page.state_of(request, channel, form, now=timezone.now())
        if "_page" in request.POST:
            context = {"title": gettext("With the last payload"), "channel": channel, "trial": state["trial"]}
            return own_page(self, request, "admin/notifications/inboundchannel/trial.html", context)
        return JsonResponse(state)

    def stamp_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Whether something came in since: the page asks every few seconds."""
        last = calls.last_payload(self._changeable(request, pk), now=timezone.now())
        return JsonResponse({"stamp": "" if last is None else last[1].isoformat()})

    def calls_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The last calls with their outcomes: no payloads, no secrets."""
        channel = self.get_queryset(request).filter(pk=pk).first()
        if channel is None:
            raise Http404
        if not self.has_view_permission(request, channel):
            raise PermissionDenied
        context = {
            "title": gettext("The last 50 calls"),
            "channel": channel,
            "calls": call_lines(channel, CALLS_SHOWN),
        }
        return own_page(self, request, "admin/notifications/inboundchannel/calls.html", context)

    # --- Saving -------------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: InboundChannel, form: Any, change: bool) -> None:
        if not change or "scheme" in form.changed_data:
            # For the answer alone, which shows it once: nothing keeps it.
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
        """The message of the last payload, to the person at work alone."""
        now, person = database_now(), administrator(request)
        last = calls.last_payload(channel, now=now)
        if last is None:
            messages.warning(request, gettext("Nothing came in within the last hour that could be sent to you."))
            return
        try:
            mapped = calls.mapped_of(channel, last[0], now=now)
            if mapped is None:
                messages.warning(request, gettext("The condition does not hold for this payload."))
                return
            key = calls.key_of(channel, f"trial {uuid.uuid4().hex}")
            found = calls.accepted(calls.incoming_of(channel, mapped, key=key, only_user_id=person.pk), now=now)
        except CallRefusedError as error:
            messages.error(request, str(error.sentence))
            return
        enqueue_runs(found.run_ids)
        messages.success(request, gettext("It is on its way to you. Pictures behind addresses are left out."))

    # --- The secret: shown once, on the answer itself, which no browser keeps -----------------------------------------

    def renew_secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Another secret in place of the one that got lost or known."""
        channel = self._changeable(request, pk)
        secret = channels.renew_secret(channel)
        channel.save(update_fields=["secret", "digest"])
        self.log_change(request, channel, gettext("Gave it another secret."))
        return self._secret_page(request, channel, secret)

    def _secret_page(self, request: HttpRequest, channel: InboundChannel, secret: str) -> HttpResponse:
        scheme = SCHEMES[channel.scheme]
        address = address_of(channel)
        context = {
            "title": gettext("Address and secret"),
            "channel": channel,
            "secret": secret,
            "scheme": scheme,
            "sender": PRESETS.get(channel.preset),
            "address": f"{address}?{scheme.name}={secret}" if scheme.where == "query" else address,
        }
        if channel.kind == InboundChannel.Kind.MAIL:
            context |= _mail_context(channel)
        return own_page(self, request, "admin/notifications/inboundchannel/secret.html", context)

    def _changeable(self, request: HttpRequest, pk: int) -> InboundChannel:
        """A visible channel that the person may change; else 403 or 404."""
        channel = self.get_queryset(request).select_related("owner", "corp").filter(pk=pk).first()
        if channel is None:
            raise Http404
        if not self.has_change_permission(request, channel):
            raise PermissionDenied
        return channel


def _mail_context(channel: InboundChannel) -> dict[str, Any]:
    return {
        "channel": channel,
        "server_facts": mail_form.server_facts(channel.public_id),
        "is_door_open": mail_form.is_door_open(),
        "calls": call_lines(channel, CALLS_BESIDE),
    }


def address_of(channel: InboundChannel) -> str:
    return SiteAddress.objects.default().absolute(reverse("inbound", args=[channel.public_id]))


def call_lines(channel: InboundChannel, at_most: int) -> list[dict[str, Any]]:
    """The newest calls, each with its outcome as a pill, its reason in words, and the address of its message."""
    rows = list(InboundCall.objects.filter(channel=channel).newest_first()[:at_most])
    named = [row.message_id for row in rows if row.message_id is not None]
    runs = Run.objects.filter(message__in=named).order_by("-pk").values_list("message", "pk")
    pages = {message: reverse("admin:notifications_run_change", args=[run]) for message, run in runs}
    return [
        {
            "last_at": timezone.localtime(row.last_at),
            "count": row.count,
            "pill": pill(_TONES.get(InboundCall.Outcome(row.outcome), "quiet"), row.get_outcome_display()),
            "reason": shown(row.reason),
            "message_url": pages.get(row.message_id or 0, ""),
        }
        for row in rows
    ]
