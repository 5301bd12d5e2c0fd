"""Two who change one push: whoever saves second is told what the first saved, of its fields and rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from integrations.admin import seen_rows
from integrations.admin.seen_rows import page_saved
from integrations.core import concurrency, row_merge
from integrations.core.concurrency import SeenForm
from notifications.admin.page_picture_form import FIELDS, PREFIX
from notifications.admin.report_forms import CHART_FIELDS
from notifications.models import OwnRowsRule, PagePicture, ReportCard, ReportChart, Subscription

if TYPE_CHECKING:
    from integrations.core.row_merge import Rows

# By the prefix of its formset each part of a content, with its fields and the one by which a row is called.
PARTS: dict[str, tuple[type[Any], tuple[str, ...], str]] = {
    "report_cards": (ReportCard, ("card", "alias", "title", "position"), "alias"),
    "charts": (ReportChart, CHART_FIELDS, "alias"),
    "own_rows_rules": (OwnRowsRule, ("alias", "column", "attribute", "value"), "column"),
    PREFIX: (PagePicture, FIELDS, "name"),
}


class SeenContent(SeenForm):
    """With the rows of a content. `merged`: a QueryDict, what the page is to show where others changed some."""

    merged: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.rows_at_work = self.rows_at_work

    def rows_at_work(self) -> Any:
        """The page's rows together with those that others saved meanwhile; None where nobody did."""
        if self.is_bound:
            self.is_valid()
        return self.merged

    def _values_of(self, row: Any) -> dict[str, Any]:
        return {**super()._values_of(row), "rows": _rows_of_content(row)}

    def _report_changes(self, seen: dict[str, Any], saved: dict[str, Any], changed: dict[str, Any]) -> None:
        fields = {name: value for name, value in changed.items() if name != "rows"}
        if "rows" in changed:
            self._merge_rows(seen["rows"], saved)
        if fields:
            super()._report_changes(seen, saved, fields)
        if "rows" in changed:
            self.merged = self.data

    def _merge_rows(self, seen: dict[str, Rows], saved: dict[str, Any]) -> None:
        self._show_anew(saved)
        data: Any = self.data
        lines: list[str] = []
        for prefix, (model, _names, called) in PARTS.items():
            rows = row_merge.sent(data, prefix, ("alias", "bi_id"))
            found = row_merge.merge(rows, seen=seen[prefix], saved=saved["rows"][prefix])
            if found.is_news:
                row_merge.write(data, prefix, found.sent)
                names = {**seen[prefix], **saved["rows"][prefix]}
                said = seen_rows.said(found, {key: str(row[called]) for key, row in names.items()})
                lines.append(f"{model._meta.verbose_name_plural}: {said}")
        self.add_error(None, seen_rows.message(self._who(()), "; ".join(lines)))

    def _who(self, names: Collection[str]) -> str:
        saved = concurrency.last_saved.first(self.instance, names) if names else None
        pushes = Subscription.objects.filter(report=self.instance.pk).values_list("pk", flat=True)
        return concurrency.who(saved or page_saved(list(pushes), Subscription))


def merged_rows(row: Any) -> dict[str, Any]:
    """For the formsets of a page about `row`: of rows that others saved meanwhile they show theirs and its own."""
    merged = row.rows_at_work() if hasattr(row, "rows_at_work") else None
    return {} if merged is None else {"data": merged}


def _rows_of_content(report: Any) -> dict[str, Rows]:
    rows = {}
    for prefix, (model, names, _called) in PARTS.items():
        rows[prefix] = row_merge.rows_of(model._default_manager.filter(report=report.pk), names)
    return rows
