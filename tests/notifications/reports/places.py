"""Rows for tests of reports with cards."""

from datetime import datetime
from typing import Any

from accounts.models import Attribute, AttributeValue, User, fold_value
from integrations.data.table import Table
from integrations.models import Card, CardData, DataSource
from integrations.models.datasources import compress_table
from notifications.models import OwnRowsRule, Report, ReportCard
from tests.notifications.factories import NOW, make_report
from tests.notifications.reports.tables import sales


def make_card(**fields: Any) -> Card:
    """Create a card of its own with the shared source."""
    source, _is_new = DataSource.objects.get_or_create(name="观远", kind="guandata")
    return Card.objects.create(**{"source": source, "name": f"区域销售额 {Card.objects.count() + 1}", **fields})


def make_data_report(*, alias: str = "sales", card: Card | None = None, **fields: Any) -> Report:
    """Create a template report over one card."""
    defaults = {
        "title": "{{ yesterday|date('M月D日') }}销售",
        "body": "合计 {{ sales.sum('销售额')|千分位 }} 元，{{ sales.count }} 行",
        "is_template": True,
    }
    report = make_report(**{**defaults, **fields})
    ReportCard.objects.create(report=report, card=card or make_card(), alias=alias, title="各区域销售")
    return report


def card_of(report: Report) -> Card:
    return report.report_cards.get().card


def answer(report: Report, table: Table | None = None, *, slot_at: datetime = NOW) -> None:
    """Store the slot's data for each card of the report."""
    found = {
        "status": CardData.Status.READY,
        "content": compress_table(sales() if table is None else table),
        "finished_at": slot_at,
        "notified_at": slot_at,
    }
    for one in report.report_cards.all():
        CardData.objects.update_or_create(
            card=one.card, slot_at=slot_at, defaults={**found, "requested_at": slot_at, "next_try_at": slot_at}
        )


def make_region(*, is_many_valued: bool = False) -> Attribute:
    return Attribute.objects.create(key="region", name="区域", is_many_valued=is_many_valued)


def place(person: User, attribute: Attribute, *values: str) -> None:
    AttributeValue.objects.bulk_create(
        AttributeValue(user=person, attribute=attribute, value=value, folded=fold_value(value), position=position)
        for position, value in enumerate(values)
    )


def split(report: Report, attribute: Attribute | None, *, column: str = "区域", value: str = "") -> None:
    OwnRowsRule.objects.create(report=report, alias="sales", column=column, attribute=attribute, value=value)


def page_values(*cards: Card, charts: Any = (), rules: Any = (), **changes: object) -> dict[str, object]:
    """Return the form data of a new report. Cards are called c0, c1 ...; `charts`, `rules`: rows of other parts."""
    parts = [{"card": card.pk, "alias": f"c{n}", "title": "", "position": n} for n, card in enumerate(cards)]
    found: dict[str, object] = {"title": "日报", "body": "正文", "is_template": "on", "link": "", "corp": "", **changes}
    for part, rows in (("report_cards", parts), ("charts", charts), ("own_rows_rules", rules)):
        found |= {f"{part}-TOTAL_FORMS": len(rows), f"{part}-INITIAL_FORMS": 0}
        found |= {f"{part}-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()}
    return {name: "" if value is None else value for name, value in found.items()}
