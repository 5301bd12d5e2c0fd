"""What the page of a push shows beside its form: the rows, the message, the people, the times. Nothing is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from notifications.admin import report_preview, subscription_forms, subscription_preview
from notifications.admin.base import administrator
from notifications.admin.push.form import TEMPLATES, Missing, PushForm, columns_named, missing_card, missing_columns
from notifications.admin.push.one_page import proposed_pair
from notifications.admin.report_forms import is_key, rules_in
from notifications.admin.report_preview import PreviewRefusedError, PreviewRequest
from notifications.admin.subscription_preview import SubscriptionPreview
from notifications.models import ReportCard
from notifications.reports.starting_points import StartingPoint, starting_points
from notifications.reports.templates import field_choices, merge_fields
from notifications.reports.templates.field_choices import FieldGroup
from notifications.reports.templates.merge_fields import Field

if TYPE_CHECKING:
    from django.http import QueryDict

    from accounts.models import User
    from notifications.admin.reports import ReportAdmin

ROWS_SHOWN = 8
FOLDER = "admin/notifications/subscription"


@dataclass(frozen=True)
class _Message:
    """`data`: how far it is; None where none is needed. `problem`: why there is no message, even with data."""

    cards: list[ReportCard] = field(default_factory=list)
    requested: PreviewRequest | None = None
    data: DataPreview | None = None
    problem: str = ""

    @property
    def tables(self) -> dict[str, Table]:
        """By the alias of each card, as far as they are there."""
        if self.data is None or not self.data.is_there:
            return {}
        return {card.alias: self.data.tables[card.card_id] for card in self.cards}

    @property
    def by_heading(self) -> dict[str, Table]:
        tables = self.tables
        return {card.heading: tables[card.alias] for card in self.cards if card.alias in tables}


def page_state(request: HttpRequest, form: PushForm, report_admin: ReportAdmin, *, now: datetime) -> dict[str, Any]:
    """The answer to the page, for a form that was cleaned. It asks again while there is a `token`.

    `as`: as whom it looks. `fields`: what can be inserted; `points`: the starting points; both empty until the data is
    there. `parts`: for each template the texts and merge fields of which it consists, null where it can be written by
    hand alone; `sources`: the templates that this is said of. `is_lost`: the data has to be asked for anew.
    """
    found = subscription_preview.of_form(form, now=now, with_message=form.content is None)
    if form.content is None:  # somebody who may not write it reads it as it is
        context = {"preview": found.preview, "problem": found.preview_error}
        return {
            "waiting": "",
            "html": outlook(request, found),
            "phone": render_to_string(f"{FOLDER}/_phone.html", context, request),
        }
    person = _looked_at_as(request, found)
    message = _message(request, report_admin, person, now)
    headings = {card.alias: card.heading for card in message.cards}
    return {
        "token": message.data.token if message.data is not None else "",
        "waiting": waiting_line(message.data),
        "is_lost": message.data is not None and bool(message.data.problem),
        "phone": _phone(request, report_admin, message, now),
        "as": {"id": str(person.pk), "name": str(person)},
        "rows": sample(request, message.by_heading, waiting=message.data),
        "html": outlook(request, found),
        "missing": _missing(request, message),
        "limits": limits(form, form.content),
        "fields": [_group(group) for group in _groups(message.tables)],
        "columns": {alias: list(table.names) for alias, table in message.tables.items()},
        "pair": _pair(request, message),
        "points": [_point(point) for point in _points(message)],
        "parts": {name: _parts(request.POST, name, headings) for name in TEMPLATES},
        "sources": {name: request.POST.get(name, "") for name in TEMPLATES},
    }


def _looked_at_as(request: HttpRequest, found: SubscriptionPreview) -> User:
    """Whom the page chose, as far as one may look at it so; else the first recipient; else oneself."""
    key, by = request.POST.get("_person", ""), administrator(request)
    first = found.found.first_id if found.found is not None else None
    wanted = int(key) if is_key(key) else first or by.pk
    return report_preview.looked_at_as(by).filter(pk=wanted).first() or by


def _message(request: HttpRequest, report_admin: ReportAdmin, person: User, now: datetime) -> _Message:
    values, by = request.POST.copy(), administrator(request)
    values["_form"], values["_zone"] = values.get("message_form", ""), values.get("time_zone", "")
    values["_person"] = str(person.pk)
    try:
        cards = report_preview.cards_of(values, by)
    except PreviewRefusedError as error:
        return _Message(problem=str(error))
    distinct = list({card.card_id: card.card for card in cards}.values())
    data = report_admin.preview_data(request, distinct, now=now) if cards else None
    try:
        return _Message(cards, report_preview.request_of(values, by=by, now=now), data)
    except PreviewRefusedError as error:
        return _Message(cards, None, data, str(error))


def _phone(request: HttpRequest, report_admin: ReportAdmin, message: _Message, now: datetime) -> str:
    """The message as WeCom draws it, or why there is none."""
    context: dict[str, Any] = {"problem": message.problem}
    requested, data = message.requested, message.data
    if data is not None and data.token:
        context = {"waiting": data}
    elif data is not None and data.problem:
        context = {"problem": data.problem}
    elif requested is not None and not _is_empty(request.POST):
        try:
            found = report_preview.render(requested, data.tables if data is not None else {})
            context |= {
                "found": found,
                "has_page": requested.page is not None,
                "page_problem": requested.page_problem,
                "is_own_view": bool(requested.own_rows),
                "preview": found.preview,
                **report_admin.drawn(request, found.media, now=now),
            }
        except PreviewRefusedError as error:
            context |= {"problem": str(error)}
    return render_to_string(f"{FOLDER}/_phone.html", context, request)


def _missing(request: HttpRequest, message: _Message) -> str:
    """What the push names and the data does not have any more, with what it may be called today."""
    headings = {card.alias: card.heading for card in message.cards}
    lost = message.data.lost if message.data is not None else frozenset()
    found = [
        *(
            missing_card(card.alias, card.heading, administrator(request))
            for card in message.cards
            if card.card_id in lost
        ),
        *missing_columns(columns_named(request.POST, message.tables), message.tables, headings),
    ]
    return missing_part(request, found)


def missing_part(request: HttpRequest, found: list[Missing], *, is_rule: bool = False) -> str:
    """What is missing, each with its mapping."""
    return render_to_string(f"{FOLDER}/_missing.html", {"missing": found, "is_rule": is_rule}, request)


def _is_empty(values: QueryDict) -> bool:
    return not any(values.get(name, "").strip() for name in TEMPLATES)


def limits(*forms: Any) -> str:
    """Which texts are longer than they may be, before they are saved; empty where none is."""
    return " ".join(
        f"{form.fields[name].label}: {message}"
        for form in forms
        for name, errors in form.errors.as_data().items()
        for error in errors
        if error.code == "max_length"
        for message in error.messages
    )


def waiting_line(data: DataPreview | None) -> str:
    """For what the page waits, as long as it does."""
    if data is None or not data.token:
        return ""
    return data.hindrance or gettext("The data is being fetched…")


def sample(request: HttpRequest, tables: Mapping[str, Table], *, waiting: DataPreview | None) -> str:
    """The first rows of each table, by its heading, as the source gives them; or how far they are."""
    shown = [
        {"heading": heading, "table": table, "rows": table.rows[:ROWS_SHOWN], "count": len(table.rows)}
        for heading, table in tables.items()
    ]
    return render_to_string(f"{FOLDER}/_rows.html", {"tables": shown, "waiting": waiting}, request)


def outlook(
    request: HttpRequest, found: SubscriptionPreview, *, is_rule: bool = False, with_message: bool = False
) -> SafeString:
    """The people, the next times, and the message where it is wanted."""
    reach, may_open = found.found, request.user.has_perm("accounts.view_user")
    lines = [] if reach is None else subscription_forms.unreachable_lines(reach, may_open=may_open)
    context = {
        **vars(found),
        "is_rule": is_rule,
        "with_message": with_message,
        "unreachable_lines": lines,
        "department_lines": subscription_forms.about_departments(reach) if reach is not None else [],
    }
    return render_to_string(f"{FOLDER}/_reach.html", context, request)


def _groups(tables: Mapping[str, Table]) -> Iterator[FieldGroup]:
    for alias, table in tables.items():
        yield from field_choices.groups_of(table, alias)
    yield field_choices.day_fields(tables)


def _points(message: _Message) -> list[StartingPoint]:
    """Made of the first card."""
    for card in message.cards:
        if card.alias in message.tables:
            return starting_points(card.alias, card.heading, message.tables[card.alias])
    return []


def _pair(request: HttpRequest, message: _Message) -> tuple[str, str] | None:
    """Return what own rows begin with: a column of the first card, and an attribute."""
    first = next(iter(message.tables.values()), None)
    return None if first is None or rules_in(request.POST) else proposed_pair(first, by=administrator(request))


def _group(group: FieldGroup) -> dict[str, Any]:
    return {"label": group.label, "is_number": group.is_number, "fields": [_field(field) for field in group.fields]}


def _field(field: Field) -> dict[str, str]:
    return {"label": field.label, "template": field.template}


def _point(point: StartingPoint) -> dict[str, Any]:
    return {
        "key": point.key,
        "lacks": point.lacks,
        "message_form": point.message_form.value,
        **{name: getattr(point, name) for name in TEMPLATES},
        "charts": [
            {"kind": chart.kind.value, "x": chart.x, "y": "\n".join(chart.y), "sort": chart.sort.value}
            for chart in point.charts
        ],
    }


def _parts(values: QueryDict, name: str, headings: Mapping[str, str]) -> list[dict[str, str]] | None:
    source = values.get(name, "").replace("\r\n", "\n")
    if "is_template" not in values:
        return [{"text": source}] if source else []
    parts = merge_fields.parts_of(source, headings)
    if parts is None:
        return None
    return [{"text": part} if isinstance(part, str) else _field(part) for part in parts]
