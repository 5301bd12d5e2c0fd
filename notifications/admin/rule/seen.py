"""Two who change one alert rule: whoever saves second is told what the first saved, of its fields and people."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from integrations.admin.seen_rows import page_saved
from integrations.core import concurrency
from integrations.core.concurrency import SeenForm
from notifications.admin.condition_fields import PARTS_OF_ROW, ConditionsField
from notifications.alerts import condition_words, conditions
from notifications.alerts.conditions import CONDITIONS_AT_MOST
from notifications.models import AlertReceiver, AlertRule


class SeenRule(SeenForm):
    """With its conditions in words. The people chosen for it alone are a receiver that no list offers."""

    def _is_same(self, name: str, saved: Any) -> bool:
        if name != "receiver":
            return super()._is_same(name, saved)
        chosen = self.cleaned_data.get("receiver")
        return chosen is not None and bool(chosen.pk == saved)

    def _show_anew(self, saved: dict[str, Any], names: list[str] | None = None) -> None:
        apart = {"conditions", "receiver"}
        super()._show_anew(saved, [name for name in names or [] if name not in apart])
        data: Any = self.data
        if names and "receiver" in names:
            shared = AlertReceiver.objects.shared().filter(pk=saved["receiver"])
            data[self.add_prefix("receiver")] = str(saved["receiver"]) if shared.exists() else ""
        if names and "conditions" in names:
            rows = ConditionsField().prepare_value(saved["conditions"])
            for number in range(CONDITIONS_AT_MOST):
                for part in PARTS_OF_ROW:
                    value = getattr(rows[number], part) if number < len(rows) else ""
                    data[f"{self.add_prefix('conditions')}-{number}-{part}"] = value

    def _shown(self, name: str, value: Any) -> str:
        if name == "conditions":
            return "; ".join(map(condition_words.described, conditions.from_rows(value))) or "—"
        return super()._shown(name, value)

    def _who(self, names: Collection[str]) -> str:
        return concurrency.who(
            concurrency.last_saved.first(self.instance, names) or page_saved([self.instance.pk], AlertRule)
        )


class SeenPeople(SeenForm):
    """Of the people chosen for one rule: what they were at the page's opening stands beside the rule's own fields."""

    def add_prefix(self, field_name: str) -> str:
        return "seen_people" if field_name == "seen" else super().add_prefix(field_name)

    def _who(self, names: Collection[str]) -> str:
        rules = list(AlertRule.objects.filter(receiver=self.instance.pk).values_list("pk", flat=True))
        return concurrency.who(concurrency.last_saved.first(self.instance, names) or page_saved(rules, AlertRule))
