"""Admin pages of incoming messages: what other systems handed in, and what became of it. Read-only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from integrations.admin.base import pill as tone_pill
from notifications.admin import base, log_pages
from notifications.admin.base import CorpFilter, DayFilter, IndexedLogAdmin, moment, run_people, run_pill
from notifications.admin.log_pages import technical
from notifications.delivery import failures
from notifications.delivery.runs import statistics
from notifications.inbound.mail import page
from notifications.inbound.recipients import Kind, Why
from notifications.inbound.source import is_main_of
from notifications.models import IncomingMessage, Medium, Run

UNKNOWN_SHOWN = 100
_KINDS = {
    Kind.USER: _("user name"),
    Kind.USERID: _("WeCom account"),
    Kind.LOGIN_ID: "BI loginId",
    Kind.ACCOUNT: _("account at the mail door"),
    Kind.EMAIL: _("e-mail"),
    Kind.ATTRIBUTE: _("user attribute"),
    Kind.DEPARTMENT: _("department"),
    Kind.GROUP: _("group"),
}
_WHYS = {Why.UNKNOWN: _("unknown, or out of the sender’s reach"), Why.AMBIGUOUS: _("several people have it")}
_TONES = {"waiting": "quiet", "delivered": "good", "given_up": "bad"}


@admin.register(IncomingMessage)
class IncomingMessageAdmin(IndexedLogAdmin):
    found = staticmethod(base.messages_found)
    empty_list = _("What other systems send to people stands here: over the HTTP API, by mail or through a channel.")
    change_form_template = "admin/notifications/incoming_message.html"
    list_display = ("title", "sender", "came_by", "form_shown", "person_count", "unknown_count", "webhook", "received")
    list_filter = (CorpFilter, DayFilter, "origin", "callback_state")
    search_fields = ("title",)
    search_help_text = _("title")
    show_full_result_count = False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_safe(self.mail_view))
        return [path("<int:pk>/mail/", view, name="notifications_incomingmessage_mail"), *super().get_urls()]

    @method_decorator(xframe_options_sameorigin)
    def mail_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The whole mail, for a frame on the message's page."""
        message = self.get_queryset(request).filter(pk=pk).first()
        if message is None:
            raise Http404
        if not self.has_view_permission(request, message):
            raise PermissionDenied
        return page.page_of(message.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[IncomingMessage]:
        seen = IncomingMessage.objects.visible_to(request.user).select_related("token", "channel", "corp")
        return seen.defer(
            "original", "page", "callback_url", "token__signing_secret", "channel__secret", "channel__mapping"
        )

    @admin.display(description=_("from"))
    def sender(self, message: IncomingMessage) -> str:
        return message.origin_name

    @admin.display(description=_("came by"), ordering="origin")
    def came_by(self, message: IncomingMessage) -> str:
        return str(message.get_origin_display())

    @admin.display(description=_("message form"), ordering="form")
    def form_shown(self, message: IncomingMessage) -> str:
        return str(message.get_form_display())

    @admin.display(description=_("not found"))
    def unknown_count(self, message: IncomingMessage) -> int:
        return len(message.unknown)

    @admin.display(description=_("webhook"), ordering="callback_state")
    def webhook(self, message: IncomingMessage) -> SafeString | str:
        if not message.callback_state:
            return "—"
        return tone_pill(_TONES[message.callback_state], message.get_callback_state_display())

    @admin.display(description=_("received"), ordering="created_at")
    def received(self, message: IncomingMessage) -> str:
        return moment(message.created_at)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The right to add one is that of sending one by a token: there is no page for it."""
        return False

    def row_context(self, request: HttpRequest, message: IncomingMessage) -> dict[str, Any]:
        runs = list(
            Run.objects.visible_to(request.user).filter(message=message).select_related("resends").order_by("pk")
        )
        reasons = failures.explain_runs(runs)
        files = dict(Medium.objects.filter(run__in=runs).values_list("run", "name"))
        return {
            "title": message.title,
            "subtitle": None,
            "message": message,
            "is_mail": message.origin == IncomingMessage.Origin.MAIL,
            "sandbox": " ".join(page.SANDBOX),
            "facts": [*_list_facts(self, message), *_list_callback_facts(self, message)],
            "runs": [
                {
                    "url": reverse("admin:notifications_run_change", args=[run.pk]),
                    "name": message.title if is_main_of(message, run) else files.get(run.first_sent.pk),
                    "trigger": run.get_trigger_display(),
                    "state": run_pill(run),
                    **dict(zip(("recipients", "skipped"), run_people(run), strict=True)),
                    "why": reasons[run.pk],
                }
                for run in runs
            ],
            "unknown": list(_describe_unknown(message)),
            **(log_pages.run_actions(request, runs[0]) if runs else {}),
            "technical": technical([(gettext("number"), message.pk), ("key", message.key)]),
        }


def _list_facts(shown: IncomingMessageAdmin, message: IncomingMessage) -> list[tuple[Any, Any]]:
    counts = statistics.of_message(message.pk)
    facts: list[tuple[Any, Any]] = [
        (_("from"), message.token or message.origin_name),
        (_("came by"), shown.came_by(message)),
        (_("received"), shown.received(message)),
        (_("message form"), shown.form_shown(message)),
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


def _list_callback_facts(shown: IncomingMessageAdmin, message: IncomingMessage) -> list[tuple[Any, Any]]:
    if not message.callback_state:
        return []
    facts: list[tuple[Any, Any]] = [
        (_("webhook"), shown.webhook(message)),
        (_("attempts"), message.callback_count),
    ]
    if message.callback_state == IncomingMessage.Callback.WAITING:
        facts.append((_("next attempt"), moment(message.callback_after)))
    return [*facts, (_("error of the webhook"), message.callback_error_text)] if message.callback_error else facts


def _describe_unknown(message: IncomingMessage) -> Iterator[tuple[str, str, str]]:
    """Yield of each unknown recipient the kind of address, its words, and why nobody was found."""
    for one in message.unknown[:UNKNOWN_SHOWN]:
        words = " · ".join(filter(None, (one.get("value"), one.get("attribute"), one.get("corp"))))
        yield str(_KINDS[Kind(one["kind"])]), words, str(_WHYS[Why(one["reason"])])
