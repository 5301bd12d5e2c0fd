"""Exports a list's receipts as csv: status, reason, who can fix it and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounts.importexport.writers import csv_line
from notifications.delivery import failures

if TYPE_CHECKING:
    from datetime import datetime

    from notifications.models import Receipt

# More than a run has people; a list without any filter may be of years.
ROWS_AT_MOST = 200_000
BATCH = 1000
Shown = Callable[["Receipt"], str]


def answer(receipts: QuerySet[Receipt], *, account: Shown) -> StreamingHttpResponse:
    """The rows in the reader's language, the newest first. `account`: company and WeCom account of a receipt."""
    lines = _lines(receipts, account, translation.get_language() or "")
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    name = f"receipts-{timezone.localtime():%Y%m%d-%H%M%S}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _lines(receipts: QuerySet[Receipt], account: Shown, language: str) -> Iterator[str]:
    """The language is fixed: the lines are written after the request, when another may be active."""
    with translation.override(language):
        titles = [_("user"), _("WeCom account"), _("status"), _("reason"), _("Who can fix it"), _("Where")]
        yield "\ufeff" + csv_line([*titles, _("message"), _("due"), _("read")])
    for receipt in receipts.order_by("-pk")[:ROWS_AT_MOST].iterator(chunk_size=BATCH):
        with translation.override(language):
            yield csv_line(_texts(receipt, account))


def _texts(receipt: Receipt, account: Shown) -> list[str]:
    delivery, said = receipt.delivery, failures.explanation_of_receipt(receipt)
    is_own = bool(receipt.status) or delivery is None
    status = receipt.get_status_display() if is_own or delivery is None else delivery.get_status_display()
    why = [said.what, said.who, said.where] if said is not None else [receipt.get_reason_display(), "", ""]
    return [
        *(str(receipt.user or receipt.address), account(receipt), status, *why),
        *("" if delivery is None else delivery.title, _moment(receipt.run.slot_at), _moment(receipt.read_at)),
    ]


def _moment(value: datetime | None) -> str:
    return "" if value is None else f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"
