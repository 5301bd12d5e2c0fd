"""The log of receipts: what became of each message for every person. Read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, QuerySet, Value
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from notifications.admin import base, receipts_export
from notifications.admin.base import DayFilter, IndexedLogAdmin, moment, pill
from notifications.admin.log_pages import failures_shown, held_up
from notifications.delivery import failures
from notifications.delivery.sending.circuit_breaker import CORP_SECRETS
from notifications.models import Delivery, Receipt
from notifications.subscriptions.recipients import SET_ON_PERSON

if TYPE_CHECKING:
    from notifications.models.receipts import ReceiptQuerySet


class RunDayFilter(DayFilter):
    column = "run__claimed_at"


class ReceiptStatusFilter(admin.SimpleListFilter):
    """What became of it for the person: its own status, else its delivery's."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*Receipt.Status.choices, (Delivery.Status.PENDING.value, Delivery.Status.PENDING.label)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None or value not in {choice for choice, _label in self.lookup_choices}:
            return queryset
        return cast("ReceiptQuerySet", queryset).with_status(value)  # the admin filters its own rows only


@admin.register(Receipt)
class ReceiptAdmin(IndexedLogAdmin):
    found = staticmethod(base.receipts_found)
    empty_list = _(
        "For each person what became of each message stands here. The first receipts come with the first run "
        "of a subscription."
    )
    change_list_template = "admin/notifications/receipt/change_list.html"
    list_display = ("person", "company_and_account", "state", "why", "message", "due", "read")
    list_filter = (ReceiptStatusFilter, RunDayFilter)
    search_fields = ("address",)
    search_help_text = _("Person (name, username, WeCom account), or the address of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        seen = Receipt.objects.visible_to(request.user).select_related("user", "delivery__corp", "run__subscription")
        may_open_people = Value(request.user.has_perm("accounts.view_user"), output_field=BooleanField())
        seen = seen.annotate(may_open_people=may_open_people)
        return seen.defer("delivery__body", "delivery__text", *(f"delivery__{name}" for name in CORP_SECRETS))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """The pages of a run and of a delivery link here."""
        wanted = lookup in {"run__id__exact", "delivery__id__exact"}
        return wanted or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]  # django-stubs forbids None

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.csv_view)
        return [path("csv/", page, name="notifications_receipt_csv"), *super().get_urls()]

    def csv_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """The rows of the list under the filters of its address."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_changelist_instance(request).get_queryset(request)
        return receipts_export.answer(found, account=self.company_and_account)

    @admin.display(description=_("user"))
    def person(self, receipt: Receipt) -> str:
        return str(receipt.user or receipt.address)

    @admin.display(description=_("WeCom account"))
    def company_and_account(self, receipt: Receipt) -> str:
        if receipt.delivery is None:
            return "—"
        return f"{receipt.delivery.corp.name} / {receipt.address.partition(':')[2]}"

    @admin.display(description=_("status"))
    def state(self, receipt: Receipt) -> SafeString:
        if receipt.status or receipt.delivery is None:
            return pill(receipt.status, receipt.get_status_display())
        return pill(receipt.delivery.status, receipt.delivery.get_status_display())

    @admin.display(description=_("reason"))
    def why(self, receipt: Receipt) -> str:
        """With the way to the person's page, where it can be put right there."""
        if receipt.reason in SET_ON_PERSON and receipt.user_id and getattr(receipt, "may_open_people", False):
            url = reverse("admin:accounts_user_change", args=[receipt.user_id])
            return format_html('<a href="{}">{}</a>', url, receipt.get_reason_display())
        if receipt.reason:
            return receipt.get_reason_display()
        said = failures.explanation_of_receipt(receipt)
        return "" if said is None else said.what

    @admin.display(description=_("message"))
    def message(self, receipt: Receipt) -> SafeString:
        if receipt.delivery is None:
            url = reverse("admin:notifications_run_change", args=[receipt.run_id])
            return format_html('<a href="{}">{}</a>', url, receipt.run)
        url = reverse("admin:notifications_delivery_change", args=[receipt.delivery_id])
        return format_html('<a href="{}">{}</a>', url, receipt.delivery.title)

    @admin.display(description=_("due"))
    def due(self, receipt: Receipt) -> str:
        return moment(receipt.run.slot_at)

    @admin.display(description=_("read"))
    def read(self, receipt: Receipt) -> str:
        return moment(receipt.read_at)

    def row_context(self, request: HttpRequest, receipt: Receipt) -> dict[str, Any]:
        facts = [
            (_("user"), self.person(receipt)),
            (_("WeCom account"), self.company_and_account(receipt)),
            (_("status"), self.state(receipt)),
            (_("reason"), self.why(receipt) or "—"),
            (_("message"), self.message(receipt)),
            (_("due"), self.due(receipt)),
            *_times(receipt),
            (_("read"), self.read(receipt)),
        ]
        return {
            "facts": facts,
            "failures": failures_shown(failures.of_receipt(receipt)),
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
