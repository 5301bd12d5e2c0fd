"""Two who change one push: whoever saves second is told what the first saved, of its fields, people and rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _

from integrations.core import concurrency
from integrations.core.concurrency import Saved, SeenForm
from notifications.admin.attribute_rule_fields import RulesField
from notifications.admin.push import row_merge
from notifications.admin.report_forms import CHART_FIELDS
from notifications.models import OwnRowsRule, ReportCard, ReportChart, Subscription
from notifications.models.attribute_rules import RULES_AT_MOST
from notifications.subscriptions.attribute_rules import rules_of

if TYPE_CHECKING:
    from django.db.models import Model

    from notifications.admin.push.row_merge import Merged, Rows

PEOPLE = ("users", "groups", "departments")
NAMED_AT_MOST = 5
# By the prefix of its formset each part of a content, with its fields and the one by which a row is called.
PARTS: dict[str, tuple[type[Any], tuple[str, ...], str]] = {
    "report_cards": (ReportCard, ("card", "alias", "title", "position"), "alias"),
    "charts": (ReportChart, CHART_FIELDS, "alias"),
    "own_rows_rules": (OwnRowsRule, ("alias", "column", "attribute", "value"), "column"),
}


class SeenPush(SeenForm):
    """With the people and attribute rules of a push. Which content it sends is compared by itself."""

    unseen_fields: ClassVar[frozenset[str]] = frozenset({"report"})

    def _columns_of(self, row: Any) -> dict[str, Any]:
        return {**super()._columns_of(row), **_people_of(row)}

    def _saved(self) -> dict[str, Any] | None:
        saved = super()._saved()
        return None if saved is None else {**saved, **_people_of(self.instance)}

    def _is_same(self, name: str, saved: Any) -> bool:
        mine = self.cleaned_data.get(name)
        if name in PEOPLE:
            return mine is not None and sorted(one.pk for one in mine) == saved
        if name == "rules":
            return mine is not None and _rows_of_rules(mine) == saved
        return super()._is_same(name, saved)

    def _revived(self, name: str, value: Any) -> Any:
        if name == "rules":
            return [tuple(row) for row in value]
        return super()._revived(name, value)

    def _show_anew(self, saved: dict[str, Any], names: list[str] | None = None) -> None:
        super()._show_anew(saved, [name for name in names or [] if name != "rules"])
        if names and "rules" in names:
            data: Any = self.data
            for number in range(RULES_AT_MOST):
                row = saved["rules"][number] if number < len(saved["rules"]) else ("", "", "")
                for ending, value in zip(("attribute", "operator", "values"), row, strict=True):
                    data[f"{self.add_prefix('rules')}-{number}-{ending}"] = value

    def _shown(self, name: str, value: Any) -> str:
        if name in PEOPLE:
            field: Any = self.fields[name]
            named = [str(one) for one in field.queryset.filter(pk__in=value).order_by("pk")[:NAMED_AT_MOST]]
            return _(", ").join([*named, *(["…"] if len(value) > len(named) else [])]) or "—"
        if name == "rules":
            return "; ".join(row[2] for row in value) or "—"
        return super()._shown(name, value)

    def _who(self, names: Collection[str]) -> str:
        saved = concurrency.last_saved.first(self.instance, names)
        return concurrency.who(saved or page_saved([self.instance.pk]))


class SeenContent(SeenForm):
    """With the rows of a content. `merged`: a QueryDict, what the page is to show where others changed some."""

    merged: Any = None

    def _columns_of(self, row: Any) -> dict[str, Any]:
        return {**super()._columns_of(row), "rows": _rows_of_content(row)}

    def _saved(self) -> dict[str, Any] | None:
        saved = super()._saved()
        return None if saved is None else {**saved, "rows": _rows_of_content(self.instance)}

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


def _people_of(subscription: Any) -> dict[str, Any]:
    people = {name: sorted(getattr(subscription, name).values_list("pk", flat=True)) for name in PEOPLE}
    return {**people, "rules": _rows_of_rules(rules_of(subscription))}


def _rows_of_rules(rules: Any) -> list[list[str]]:
    return [list(row) for row in RulesField().prepare_value(rules)]


def _rows_of_content(report: Any) -> dict[str, Rows]:
    rows = {}
    for prefix, (model, names, _called) in PARTS.items():
        rows[prefix] = row_merge.rows_of(model._default_manager.filter(report=report.pk), names)
    return rows
