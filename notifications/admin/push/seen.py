"""Two who change one push: whoever saves second is told what the first saved, of its fields and rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _

from integrations.core import concurrency
from integrations.core.concurrency import Saved, SeenForm
from notifications.admin.page_picture_form import FIELDS, PREFIX
from notifications.admin.push import row_merge
from notifications.admin.report_forms import CHART_FIELDS
from notifications.models import OwnRowsRule, PagePicture, ReportCard, ReportChart, Subscription

if TYPE_CHECKING:
    from django.db.models import Model

    from notifications.admin.push.row_merge import Merged, Rows

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
            found = row_merge.merge(data, prefix, seen=seen[prefix], saved=saved["rows"][prefix])
            if found.added or found.changed or found.removed:
                row_merge.write(data, prefix, found.sent)
                names = {**seen[prefix], **saved["rows"][prefix]}
                said = ", ".join(_said(found, {key: str(row[called]) for key, row in names.items()}))
                lines.append(f"{model._meta.verbose_name_plural}: {said}")
        message = _(
            "%(who)s Nothing of yours was saved. What changed: %(changes)s. Rows that you had left alone show what is "
            "saved now, yours stand as you wrote them. Check, then save again."
        )
        self.add_error(None, message % {"who": self._who(()), "changes": "; ".join(lines)})

    def _who(self, names: Collection[str]) -> str:
        saved = concurrency.last_saved.first(self.instance, names) if names else None
        pushes = Subscription.objects.filter(report=self.instance.pk).values_list("pk", flat=True)
        return concurrency.who(saved or page_saved(list(pushes)))


def merged_rows(row: Any) -> dict[str, Any]:
    """For the formsets of a page about `row`: of rows that others saved meanwhile they show theirs and its own."""
    merged = row.rows_at_work() if hasattr(row, "rows_at_work") else None
    return {} if merged is None else {"data": merged}


def page_saved(keys: Collection[int], model: type[Model] = Subscription) -> Saved | None:
    """Who saved the page of one of these rows last."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(model), object_id__in=[str(key) for key in keys]
    )
    last = entries.select_related("user").order_by("-pk").first()
    return None if last is None else Saved(str(last.user), last.action_time)


def _said(found: Merged, names: dict[str, str]) -> Iterator[str]:
    yield from (_("%(row)s added") % {"row": names[key]} for key in found.added)
    yield from (_("%(row)s changed") % {"row": names[key]} for key in found.changed)
    yield from (_("%(row)s taken away") % {"row": names[key]} for key in found.removed)


def _rows_of_content(report: Any) -> dict[str, Rows]:
    rows = {}
    for prefix, (model, names, _called) in PARTS.items():
        rows[prefix] = row_merge.rows_of(model._default_manager.filter(report=report.pk), names)
    return rows
