"""The log of receipts: what became of each message for every person. Read-only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import BooleanField, QuerySet, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from notifications.admin import base, log_pages
from notifications.admin.base import moment, plain_moment
from notifications.admin.log_export import ExportedLog
from notifications.admin.log_filters import (
    ExactDeliveryFilter,
    ExactPersonFilter,
    ExactRunFilter,
    FormCorpFilter,
    FormDayFilter,
    FormFilter,
    PersonFilter,
    PushFilter,
    SpanFilter,
)
from notifications.admin.log_pages import failures_shown, held_up, link, step_to_delivery, step_to_run, technical
from notifications.delivery import failures
from notifications.delivery.runs import names
from notifications.delivery.sending.circuit_breaker import CORP_SECRETS
from notifications.models import Delivery, Receipt
from notifications.subscriptions.recipients import SET_ON_PERSON

if TYPE_CHECKING:
    from notifications.models.receipts import ReceiptQuerySet


class RunDayFilter(FormDayFilter):
    column = "run__claimed_at"


class RunSpanFilter(SpanFilter):
    column = "run__claimed_at"


class MessageCorpFilter(FormCorpFilter):
    """Of messages to the company; who was skipped has none."""

    def matching(self, queryset: QuerySet[Any], corp_id: str) -> QuerySet[Any]:
        return queryset.filter(delivery__corp=corp_id)


class ReceiptStatusFilter(FormFilter):
    """What became of it for the person: its own status, else its delivery's."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(log_pages.LABELS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.text not in log_pages.LABELS:
            return queryset
        return cast("ReceiptQuerySet", queryset).with_status(self.text)  # the admin filters its own rows only


class ReceiptList(base.LogList):
    """With the names of the runs of which people got no message, for all its rows at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        receipts = list(self.result_list)
        named = names.of_runs({one.run_id: one.run for one in receipts if one.delivery_id is None}.values())
        for receipt in receipts:
            receipt.run_name = named.get(receipt.run_id, "")
        self.result_list = receipts


@admin.register(Receipt)
class ReceiptAdmin(ExportedLog):
    found = staticmethod(base.receipts_found)
    empty_list = _(
        "For each person what became of each message stands here. The first receipts come with the first run of a push."
    )
    list_display = ("person", "company_and_account", "state", "why", "message", "due", "read")
    list_filter = (
        *(ExactRunFilter, ExactDeliveryFilter, ExactPersonFilter, PersonFilter, PushFilter, MessageCorpFilter),
        *(RunDayFilter, RunSpanFilter, ReceiptStatusFilter),
    )
    search_fields = ("address",)
    search_help_text = _("Person (name, username, WeCom account), or the address of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        seen = names.nameable(Receipt.objects.visible_to(request.user), path="run__")
        seen = seen.select_related("user", "delivery__corp")
        may_open_people = Value(request.user.has_perm("accounts.view_user"), output_field=BooleanField())
        seen = seen.annotate(may_open_people=may_open_people)
        return seen.defer("delivery__body", "delivery__text", *(f"delivery__{name}" for name in CORP_SECRETS))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ReceiptList

    def csv_titles(self) -> list[str]:
        who = [gettext("user"), gettext("WeCom account"), gettext("status"), gettext("reason")]
        why = [gettext("Who can fix it"), gettext("Where")]
        return [*who, *why, gettext("message"), gettext("due"), gettext("read"), gettext("run")]

    def csv_lines(self, rows: list[Receipt]) -> Iterator[list[str]]:
        named = names.of_runs({one.run_id: one.run for one in rows}.values())
        for one in rows:
            said, title = failures.explain_receipt(one), "" if one.delivery is None else one.delivery.title
            why = [said.what, said.who, said.where] if said is not None else [one.reason_text, "", ""]
            times = plain_moment(one.run.slot_at), plain_moment(one.read_at)
            who = [log_pages.person(one), log_pages.company_and_account(one), log_pages.state_words(one)]
            yield [*who, *why, title, *times, named[one.run_id]]

    @admin.display(description=_("user"))
    def person(self, receipt: Receipt) -> str:
        return log_pages.person(receipt)

    @admin.display(description=_("WeCom account"))
    def company_and_account(self, receipt: Receipt) -> str:
        return log_pages.company_and_account(receipt)

    @admin.display(description=_("status"))
    def state(self, receipt: Receipt) -> SafeString:
        return log_pages.state(receipt)

    @admin.display(description=_("reason"))
    def why(self, receipt: Receipt) -> str:
        """With the way to the person's page, where it can be put right there."""
        if receipt.reason in SET_ON_PERSON and receipt.user_id and getattr(receipt, "may_open_people", False):
            url = reverse("admin:accounts_user_change", args=[receipt.user_id])
            return format_html('<a href="{}">{}</a>', url, receipt.reason_text)
        return log_pages.reason(receipt)

    @admin.display(description=_("message"))
    def message(self, receipt: Receipt) -> SafeString:
        if receipt.delivery is None:
            url = reverse("admin:notifications_run_change", args=[receipt.run_id])
            return format_html('<a href="{}">{}</a>', url, receipt.run_name)  # type: ignore[attr-defined]  # set by ReceiptList
        url = reverse("admin:notifications_delivery_change", args=[receipt.delivery_id])
        return format_html('<a href="{}">{}</a>', url, receipt.delivery.title)

    @admin.display(description=_("due"))
    def due(self, receipt: Receipt) -> str:
        return moment(receipt.run.slot_at)

    @admin.display(description=_("read"))
    def read(self, receipt: Receipt) -> str:
        return moment(receipt.read_at)

    def row_context(self, request: HttpRequest, receipt: Receipt) -> dict[str, Any]:
        way_back = [step_to_run(request, receipt.run)]
        if receipt.delivery is not None:
            way_back.append(step_to_delivery(request, receipt.delivery))
        facts = [
            (_("user"), self.person(receipt)),
            (_("WeCom account"), self.company_and_account(receipt)),
            (_("status"), self.state(receipt)),
            (_("reason"), self.why(receipt) or "—"),
            (_("run"), link(way_back[0])),
            *((_("message"), link(step)) for step in way_back[1:]),
            (_("due"), self.due(receipt)),
            *_times(receipt),
            (_("read"), self.read(receipt)),
        ]
        return {
            "title": self.person(receipt),
            "subtitle": None,
            "way_back": way_back,
            "facts": facts,
            "technical": technical(
                [(gettext("number"), receipt.pk), (pgettext("receipt", "address"), receipt.address)]
            ),
            "failures": failures_shown(failures.explain_receipt(receipt, with_answer=True)),
            "held_up": held_up(request, Delivery.objects.filter(pk__in=[receipt.delivery_id])),
        }


def _times(receipt: Receipt) -> list[tuple[Any, Any]]:
    """When its run was claimed and rendered, and when it was sent and answered, by which attempt."""
    run, delivery = receipt.run, receipt.delivery
    times: list[tuple[Any, Any]] = [(_("claimed"), moment(run.claimed_at)), (_("rendered"), moment(run.rendered_at))]
    last = delivery.attempts.last() if delivery is not None else None
    if last is None:
        return times
    return [
        *times,
        (_("sent"), moment(last.started_at)),
        (_("answered"), moment(last.finished_at)),
        (_("attempt"), str(last)),
    ]
