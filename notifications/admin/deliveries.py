"""The log of deliveries: each message as it was sent, with its attempts. Read-only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from integrations.core import sentences
from notifications.admin import base, log_pages, message_actions
from notifications.admin.base import moment, pill, plain_moment
from notifications.admin.log_export import ExportedLog
from notifications.admin.log_filters import (
    ExactRunFilter,
    FormCorpFilter,
    FormDayFilter,
    FormFilter,
    PersonFilter,
    PushFilter,
    SpanFilter,
)
from notifications.admin.log_pages import MAY, failures_shown, held_up, link, people_context, step_to_run, technical
from notifications.delivery import failures
from notifications.delivery.attachments.spreadsheets import file_name
from notifications.delivery.rendering.previews import Preview, shown
from notifications.delivery.runs import names
from notifications.delivery.sending.circuit_breaker import CORP_SECRETS
from notifications.models import Delivery, MakerQueue, Medium, MessageForm
from notifications.views.media import picture_answer


class StatusFilter(FormFilter):
    title = _("status")
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Delivery.Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(status=self.text) if self.text else queryset


@admin.register(Delivery)
class DeliveryAdmin(ExportedLog):
    found = staticmethod(base.deliveries_found)
    empty_list = _(
        "Each message that is handed to WeCom stands here, with its recipients. The first one comes with the "
        "first run of a push."
    )
    list_display = (
        "title",
        "corp_name",
        "state",
        "recipient_count",
        "accepted",
        "exceptions",
        "tries",
        "created",
        "settled",
    )
    sortable_by = ("title", "created")
    list_filter = (
        *(ExactRunFilter, PersonFilter, PushFilter, FormCorpFilter),
        *(FormDayFilter, SpanFilter, StatusFilter),
    )
    actions = ("resend", "recall")
    search_fields = ("mark",)
    search_help_text = _("Person (name, username, WeCom account), title, or the address of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        seen = names.nameable(Delivery.objects.visible_to(request.user), path="run__").select_related("corp")
        return seen.defer("body", "plain_body", "text", *CORP_SECRETS)

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.picture_view)
        pages = {"resend": message_actions.resend_page, "recall": message_actions.recall_page}
        return [
            path("<int:pk>/picture.svg", page, name="notifications_delivery_picture"),
            *(
                path(
                    f"{name}/<str:keys>/",
                    self.admin_site.admin_view(partial(view, site=self.admin_site)),
                    name=f"notifications_delivery_{name}",
                )
                for name, view in pages.items()
            ),
            *super().get_urls(),
        ]

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY)

    @admin.action(description=_("Send again to those not reached"), permissions=["resend"])
    def resend(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        return self._asked(request, "resend", chosen)

    @admin.action(description=_("Take back"), permissions=["resend"])
    def recall(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        return self._asked(request, "recall", chosen)

    def _asked(self, request: HttpRequest, name: str, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        """The page that says what becomes of each of them; the list where they are gone meanwhile."""
        most = message_actions.MESSAGES_AT_MOST
        keys = list(chosen.order_by("-pk").values_list("pk", flat=True)[: most + 1])
        if len(keys) > most:
            text = gettext("At most %(count)d messages at once: these are the newest of those chosen.")
            self.message_user(request, text % {"count": most}, messages.WARNING)
        return HttpResponseRedirect(message_actions.address(name, keys[:most])) if keys else None

    def picture_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The picture that a message carries."""
        delivery = self.get_object(request, str(pk))
        if delivery is None or not self.has_view_permission(request, delivery):
            raise PermissionDenied
        return picture_answer(delivery.medium if _may_be_looked_at(delivery.medium) else None)

    @admin.display(description=_("company"))
    def corp_name(self, delivery: Delivery) -> str:
        return delivery.corp.name

    @admin.display(description=_("status"))
    def state(self, delivery: Delivery) -> SafeString:
        return pill(delivery.status, delivery.get_status_display())

    @admin.display(description=_("accepted"))
    def accepted(self, delivery: Delivery) -> int:
        return delivery.accepted_count

    @admin.display(description=_("invalid accounts"))
    def exceptions(self, delivery: Delivery) -> int:
        return delivery.invalid_count + delivery.unlicensed_count

    @admin.display(description=_("attempts"))
    def tries(self, delivery: Delivery) -> int:
        return delivery.attempt_count

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, delivery: Delivery) -> str:
        return moment(delivery.created_at)

    @admin.display(description=_("settled"))
    def settled(self, delivery: Delivery) -> str:
        return moment(delivery.settled_at)

    def csv_titles(self) -> list[str]:
        words = [gettext("title"), gettext("run"), gettext("company"), gettext("status")]
        counts = [
            gettext("recipients"),
            gettext("accepted"),
            gettext("invalid accounts"),
            gettext("attempts"),
            gettext("WeCom's error code"),
        ]
        why = [gettext("reason"), gettext("Who can fix it"), gettext("Where")]
        return [*words, *counts, *why, gettext("created"), gettext("settled")]

    def csv_lines(self, rows: list[Delivery]) -> Iterator[list[str]]:
        named = names.of_runs({one.run_id: one.run for one in rows}.values())
        for one in rows:
            words = [one.title, named[one.run_id], one.corp.name, one.get_status_display()]
            counts = (one.recipient_count, one.accepted_count, self.exceptions(one), one.attempt_count)
            said = failures.explain_delivery(one)
            why = ["", "", ""] if said is None else [said.what, said.who, said.where]
            times = plain_moment(one.created_at), plain_moment(one.settled_at)
            yield [*words, *map(str, counts), str(one.errcode or ""), *why, *times]

    def row_context(self, request: HttpRequest, delivery: Delivery) -> dict[str, Any]:
        run = step_to_run(request, delivery.run)
        return {
            "title": delivery.title,
            "subtitle": None,
            "way_back": [run],
            "delivery": delivery,
            "facts": [(_("run"), link(run)), *_delivery_facts(delivery)],
            "technical": _technical(delivery),
            "attempts": delivery.attempts.order_by("number"),
            "preview": _preview(delivery),
            "failures": failures_shown(failures.explain_delivery(delivery, with_answer=True)),
            "held_up": held_up(request, Delivery.objects.filter(pk=delivery.pk)),
            **people_context(request, delivery=delivery.pk),
            **log_pages.run_actions(request, delivery.run),
            **message_actions.possible(request, delivery),
        }


def _may_be_looked_at(medium: Medium | None) -> bool:
    """A page of the BI as somebody sees it with their own rights is for its recipients alone."""
    return medium is not None and medium.queue != MakerQueue.SNAPSHOTS


def _preview(delivery: Delivery) -> Preview:
    """As it was, or will be, sent."""
    medium = delivery.medium
    is_drawn = medium is not None and medium.kind == Medium.Kind.PICTURE and medium.status == Medium.Status.READY
    is_drawn = is_drawn and _may_be_looked_at(medium)
    picture = reverse("admin:notifications_delivery_picture", args=[delivery.pk]) if is_drawn else ""
    extension = delivery.message_form if delivery.message_form in {MessageForm.XLSX, MessageForm.CSV} else "png"
    given = "" if medium is None else medium.name
    name = given or file_name(delivery.title, delivery.created_at, extension)
    return shown(bytes(delivery.body), text=delivery.text, picture=picture, file_name=name)


def _delivery_facts(delivery: Delivery) -> list[tuple[Any, Any]]:
    status = pill(delivery.status, delivery.get_status_display())
    if delivery.is_accepted_on_repeat:
        status = format_html("{} {}", status, _("on repeat: the answer may lack invalid accounts"))
    facts: list[tuple[Any, Any]] = [
        (_("status"), status),
        (_("company"), delivery.corp.name),
        (_("channel"), _channel(delivery)),
        (_("message form"), delivery.get_message_form_display()),
        (_("recipients"), delivery.recipient_count),
        (_("accepted"), delivery.accepted_count),
        *([(_("invalid"), delivery.invalid_count)] if delivery.invalid_count else []),
        *([(_("unlicensed"), delivery.unlicensed_count)] if delivery.unlicensed_count else []),
        (_("due"), moment(delivery.run.due_at or delivery.run.slot_at)),
        (_("settled"), moment(delivery.settled_at)),
        (_("expires after"), moment(delivery.expires_at)),
    ]
    if delivery.status in {Delivery.Status.PREPARING, Delivery.Status.PENDING}:
        facts.append((_("next attempt"), moment(delivery.next_attempt_at)))
    if delivery.unclear_since is not None:
        facts.append((_("unclear since"), moment(delivery.unclear_since)))
    if delivery.recalled_at is not None:
        facts.append((_("taken back"), moment(delivery.recalled_at)))
    elif delivery.recall_requested_at is not None:
        facts.append((_("to be taken back since"), moment(delivery.recall_requested_at)))
    if delivery.recall_error:
        facts.append((_("why it was not taken back"), delivery.recall_error))
    # Of one that was accepted, what WeCom remarked.
    is_remark = delivery.error and delivery.status == Delivery.Status.ACCEPTED
    return [*facts, (_("error"), sentences.shown(delivery.error))] if is_remark else facts


def _technical(delivery: Delivery) -> str:
    return technical(
        [
            (gettext("number"), delivery.pk),
            ("CorpId / AgentId", f"{delivery.corpid} / {delivery.agentid}"),
            ("msgid", delivery.msgid),
            (gettext("mark"), delivery.mark),
            ("errcode", delivery.errcode),
            (gettext("claimed"), plain_moment(delivery.run.claimed_at)),
            (gettext("created"), plain_moment(delivery.created_at)),
            (gettext("settled"), plain_moment(delivery.settled_at)),
        ]
    )


def _channel(delivery: Delivery) -> str:
    name = delivery.get_channel_display()
    return f"{name} / {delivery.robot}" if delivery.robot is not None else name
