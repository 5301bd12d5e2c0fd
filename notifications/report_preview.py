"""How a report as it stands in its page would look: over data that is fetched now, at a chosen time, as somebody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import Attribute, User
from accounts.visibility import people_visible_to
from integrations import card_data, source_wording
from integrations.models import Card
from integrations.sources.failing import SourceError
from integrations.sources.table import Table
from notifications.freezing import RenderingError
from notifications.models import MessageForm, Report, ReportCard
from notifications.previews import Preview, preview_of
from notifications.report_form import RULES_AT_MOST, USUAL_ZONE, cards_in
from notifications.reports.content import Content
from notifications.reports.own_rows import ColumnMissingError, Condition
from notifications.reports.shown import ShownTable, shown_tables
from notifications.reports.writing import Order, attribute_values, checked_own_rows, link_of, written

if TYPE_CHECKING:
    from django.http import QueryDict

ROWS_FETCHED = 10_000
ROWS_SHOWN = 20
_KEY = re.compile(r"[0-9]{1,18}")


class PreviewRefusedError(Exception):
    """There is nothing to show; the text is a sentence that says why."""


@dataclass(frozen=True)
class Look:
    """`person`: as whom; None: as everybody without own rows. `rows`: how many of how many they see."""

    preview: Preview
    content: Content
    tables: list[ShownTable] = field(default_factory=list)
    person: User | None = None
    rows_seen: int = 0
    rows_there: int = 0


def look(values: QueryDict, *, by: User, now: datetime) -> Look:
    """Of a page's values as they were sent. Asks the sources. Raises PreviewRefusedError."""
    report = Report(
        title=values.get("title", ""),
        body=values.get("body", ""),
        figures=values.get("figures", ""),
        link=values.get("link", ""),
        is_template="is_template" in values,
    )
    cards = _cards(values, by)
    tables = {one.alias: _table(one.card, now) for one in cards}
    person = _person(values.get("_as", "").strip(), by)
    seen = _seen(tables, _conditions(values), person)
    form = values.get("_form", "")
    order = Order(
        form if form in MessageForm else MessageForm.TEXTCARD, _moment(values.get("_at", ""), now), USUAL_ZONE
    )
    try:
        content = written(report, cards, seen, order, link_of(report, cards))
        preview = preview_of(content, MessageForm(order.form), None)
    except RenderingError as error:
        raise PreviewRefusedError(str(error)) from error
    counts = [sum(len(table.rows) for table in each.values()) for each in (seen, tables)]
    return Look(preview, content, shown_tables(content, ROWS_SHOWN), person, *counts)


def _cards(values: QueryDict, by: User) -> list[ReportCard]:
    wanted = cards_in(values)
    seen = Card.objects.visible_to(by).select_related("source").in_bulk(set(wanted.values()))
    if missing := [alias for alias, key in wanted.items() if key not in seen]:
        raise PreviewRefusedError(_("You may not look into the card “%(card)s”.") % {"card": missing[0]})
    titles = {values.get(f"report_cards-{n}-alias", ""): values.get(f"report_cards-{n}-title", "") for n in range(20)}
    return [ReportCard(alias=alias, card=seen[key], title=titles.get(alias, "")) for alias, key in wanted.items()]


def _table(card: Card, now: datetime) -> Table:
    try:
        return card_data.fetch_now(card, now=now, rows_at_most=ROWS_FETCHED)
    except SourceError as error:
        problem = source_wording.sentence(error.problem.value, error.facts)
        sentence = _("There is no data of the card “%(card)s”: %(problem)s")
        raise PreviewRefusedError(sentence % {"card": card, "problem": problem}) from error


def _conditions(values: Mapping[str, Any]) -> list[Condition]:
    found = []
    for number in range(RULES_AT_MOST * 2):
        prefix = f"own_rows_rules-{number}"
        alias, column, key, value = (
            str(values.get(f"{prefix}-{name}", "")).strip() for name in ("alias", "column", "attribute", "value")
        )
        if alias and column and not values.get(f"{prefix}-DELETE"):
            found.append(Condition(alias, column, int(key) if _KEY.fullmatch(key) else None, value))
    return found


def _person(typed: str, by: User) -> User | None:
    """Of those whom the administrator sees, by username, WeCom account or name."""
    if not typed:
        return None
    named = Q(username__iexact=typed) | Q(name=typed) | Q(wecom_accounts__userid_folded=typed.lower())
    found = list(people_visible_to(by).filter(named).distinct()[:2])
    if len(found) != 1:
        sentence = _("Nobody whom you see is “%(typed)s”.") if not found else _("Several people are “%(typed)s”.")
        raise PreviewRefusedError(sentence % {"typed": typed})
    return found[0]


def _seen(tables: dict[str, Table], conditions: list[Condition], person: User | None) -> dict[str, Table]:
    if not conditions:
        return tables
    if person is None:
        raise PreviewRefusedError(_("Each person sees rows of their own: choose as whom to look."))
    known = set(Attribute.objects.values_list("pk", flat=True))
    if any(one.attribute_id not in known and not one.fixed for one in conditions):
        raise PreviewRefusedError(_("Choose an attribute, or enter a fixed value: one of the two."))
    try:
        own_rows = checked_own_rows(tables, conditions)
    except ColumnMissingError as error:
        sentence = _("Own rows: the card “%(card)s” has no column “%(column)s”, so that nobody may see its rows.")
        raise PreviewRefusedError(sentence % {"card": error.alias, "column": error.column}) from error
    values = attribute_values([person.pk], own_rows.attribute_ids)
    return own_rows.tables(own_rows.key(values.get(person.pk, {})))


def _moment(typed: str, now: datetime) -> datetime:
    """A time as browsers send it, in the usual zone; now, where there is none."""
    try:
        return datetime.fromisoformat(typed).replace(tzinfo=ZoneInfo(USUAL_ZONE)) if typed else now
    except ValueError:
        return now
