"""Previews an unsaved report: with fetched data, at a chosen time, as a chosen person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import Q
from django.forms import BoundField, Form, ModelChoiceField, modelform_factory
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounts.models import Attribute, User
from accounts.users.scopes import people_visible_to
from integrations.data.table import Table
from integrations.models import Card
from notifications.admin import report_forms
from notifications.admin.report_forms import CHART_FIELDS, CHARTS_AT_MOST, cards_in, is_key, rules_in
from notifications.admin.subscription_forms import all_zones
from notifications.delivery.attachments.spreadsheets import file_name
from notifications.delivery.rendering import attachments, page_pictures
from notifications.delivery.rendering.message_builder import PLAIN_FORMS
from notifications.delivery.rendering.previews import Preview, preview_of
from notifications.delivery.rendering.report_contents import (
    Contents,
    Order,
    ReportParts,
)
from notifications.models import Channel, MessageForm, OwnRowsRule, Report, ReportCard, ReportChart, Subscription
from notifications.reports.html_tables import ShownTable, shown_tables
from notifications.sources import Content, PageView, RenderingError

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import QueryDict

ROWS_SHOWN = 20


class PreviewRefusedError(Exception):
    """There is nothing to show; the text is a sentence that says why."""


@dataclass(frozen=True)
class PreviewRequest:
    """What is to be previewed, read from a page's values. `person`: as whom; None: as everybody without own rows.
    `page`: of the BI, as whoever previews it sees it, or `page_problem`: why there is none."""

    report: Report
    cards: list[ReportCard]
    charts: list[ReportChart]
    own_rows: list[OwnRowsRule]
    person: User | None
    order: Order
    page: PageView | None = None
    page_problem: str = ""

    @property
    def distinct_cards(self) -> list[Card]:
        """Each once, whose data is needed."""
        return list({card.card_id: card.card for card in self.cards}.values())


@dataclass(frozen=True)
class ReportPreview:
    """`person`: as whom; None: as everybody without own rows. `rows_seen`: how many of `rows_there` they see. `media`:
    what is still to be made for it. `lacks`: whether the form asks for a picture or a file, and there is none."""

    preview: Preview
    content: Content
    tables: list[ShownTable]
    person: User | None
    rows_seen: int
    rows_there: int
    media: attachments.Plan
    lacks: bool


def request_of(values: QueryDict, *, by: User, now: datetime) -> PreviewRequest:
    """What the values ask for, which `by` may see. Raises PreviewRefusedError for what is wrong without any data."""
    report = Report(
        title=values.get("title", ""),
        body=values.get("body", ""),
        figures=values.get("figures", ""),
        link=values.get("link", ""),
        is_template="is_template" in values,
        skips_people_without_rows="skips_people_without_rows" in values,
    )
    # Without scripts one types a name; with them one chooses.
    person = _named_person(values.get("_as", ""), by) or _chosen_person(values.get("_person", ""), by)
    own_rows = own_rows_in(values)
    if own_rows and person is None:
        raise PreviewRefusedError(_("Each person sees rows of their own: choose as whom to look."))
    form = values.get("_form", "")
    zone = _zone(values.get("_zone", ""))
    order = Order(
        form if form in MessageForm else MessageForm.TEXTCARD, _moment(values.get("_at", ""), now, zone), zone.key
    )
    page, page_problem = _page(values, by, now)
    return PreviewRequest(
        report, cards_of(values, by), _charts(values), own_rows, person, order, page=page, page_problem=page_problem
    )


def _page(values: QueryDict, by: User, now: datetime) -> tuple[PageView | None, str]:
    """The page of the BI as `by` sees it there, whoever else is looked as; else why not."""
    picture = report_forms.previewed(values)
    if picture is None:
        return None, ""
    try:
        return page_pictures.for_editor(picture, by, now=now), ""
    except RenderingError as error:
        return None, str(error)


def render(requested: PreviewRequest, found: Mapping[int, Table]) -> ReportPreview:
    """`found`: the table of each of its cards. Raises PreviewRefusedError."""
    tables = {card.alias: found[card.card_id] for card in requested.cards}
    with timezone.override(ZoneInfo(requested.order.time_zone)):
        try:
            parts = ReportParts(requested.report, requested.cards, requested.charts, requested.own_rows)
            contents = Contents(parts, tables, requested.order)
            person_id = None if requested.person is None else requested.person.pk
            if person_id is not None:
                contents.learn([person_id])
                if contents.reason_against(person_id) is not None:
                    raise PreviewRefusedError(_nothing_seen(requested))
            content = replace(contents.of(person_id), page=requested.page)
            media = _media(content, requested.order, requested.charts)
            preview, lacks = _preview(content, requested.order, media)
        except RenderingError as error:
            raise PreviewRefusedError(str(error)) from error
        shown = shown_tables(content, ROWS_SHOWN)
    rows_seen, rows_there = (sum(len(table.rows) for table in each.values()) for each in (content.tables, tables))
    return ReportPreview(preview, content, shown, requested.person, rows_seen, rows_there, media, lacks)


def _nothing_seen(requested: PreviewRequest) -> str:
    """Of a message that has nothing to say to somebody who sees no row."""
    sentence = _(
        "%(person)s sees none of these rows. Look as somebody else, or give the person a value of the attribute."
    )
    return sentence % {"person": requested.person}


def _media(content: Content, order: Order, charts: list[ReportChart]) -> attachments.Plan:
    return attachments.plan(
        MessageForm(order.form),
        Channel.WECOM,
        content,
        [(row.alias, row.chart) for row in charts],
        language=translation.get_language() or settings.LANGUAGE_CODE,
        time_zone=order.time_zone,
    )


def _preview(content: Content, order: Order, media: attachments.Plan) -> tuple[Preview, bool]:
    """The message as it will go out: without a picture or a file where the report has none for it."""
    form = MessageForm(order.form)
    lacks = form in attachments.MEDIA_FORMS and media.carried is None
    name = media.carried.name if media.carried is not None else ""
    if form in attachments.FILE_FORMS:
        name = file_name(content.title, order.slot_at, form.value)
    return preview_of(content, PLAIN_FORMS[form] if lacks else form, None, file_name=name), lacks


def cards_of(values: QueryDict, by: User) -> list[ReportCard]:
    """The cards that the values name. Raises PreviewRefusedError for one that `by` may not see."""
    wanted = cards_in(values)
    seen = Card.objects.visible_to(by).in_bulk(set(wanted.values()))
    if missing := [alias for alias, key in wanted.items() if key not in seen]:
        raise PreviewRefusedError(_("You may not look into the card “%(card)s”.") % {"card": missing[0]})
    titles = {values.get(f"report_cards-{n}-alias", ""): values.get(f"report_cards-{n}-title", "") for n in range(20)}
    return [ReportCard(alias=alias, card=seen[key], title=titles.get(alias, "")) for alias, key in wanted.items()]


_ChartForm = modelform_factory(ReportChart, fields=CHART_FIELDS)


def _charts(values: QueryDict) -> list[ReportChart]:
    """In their order. Raises PreviewRefusedError for one that is not filled in."""
    found = []
    for number in range(CHARTS_AT_MOST * 2):
        prefix = f"charts-{number}"
        if f"{prefix}-alias" not in values or values.get(f"{prefix}-DELETE"):
            continue
        form = _ChartForm(values, prefix=prefix)
        if not form.is_valid():
            name, [said, *_others] = next(iter(form.errors.items()))
            sentence = _("Chart %(number)d, “%(field)s”: %(problem)s")
            label = form.fields[name].label if name in form.fields else ""
            raise PreviewRefusedError(sentence % {"number": number + 1, "field": label, "problem": said})
        found.append(form.save(commit=False))
    return sorted(found, key=lambda chart: chart.position)


def own_rows_in(values: Mapping[str, Any]) -> list[OwnRowsRule]:
    """The rules of own rows of a page as it was sent. Raises PreviewRefusedError for one that compares with nothing."""
    found = [
        OwnRowsRule(
            alias=rule["alias"],
            column=rule["column"],
            attribute_id=int(rule["attribute"]) if is_key(rule["attribute"]) else None,
            value=rule["value"],
        )
        for rule in rules_in(values)
    ]
    known = set(Attribute.objects.values_list("pk", flat=True)) if found else set()
    if any(one.attribute_id not in known and not one.value for one in found):
        raise PreviewRefusedError(_("Choose an attribute, or enter a fixed value: one of the two."))
    return found


def _chosen_person(key: str, by: User) -> User | None:
    """Oneself, or one of those whom the administrator sees; None where nobody is chosen."""
    if not key:
        return None
    found = looked_at_as(by).filter(pk=int(key)).first() if is_key(key) else None
    if found is None:
        raise PreviewRefusedError(_("Nobody whom you see is “%(typed)s”.") % {"typed": key})
    return found


def looked_at_as(by: User) -> QuerySet[User]:
    """As whom `by` may look at a message."""
    return people_visible_to(by) | User.objects.filter(pk=by.pk)


def person_chooser(name: str, site: AdminSite, by: User, *, chosen: User | None) -> BoundField:
    """As whom a page looks: a searching select of Django's admin."""
    field: Any = Subscription._meta.get_field("users")
    widget = AutocompleteSelect(field, site, attrs={"data-as": ""})
    form = Form(auto_id="preview-%s", initial={name: chosen})
    form.fields[name] = ModelChoiceField(looked_at_as(by), widget=widget, required=chosen is not None)
    return form[name]


def _named_person(typed: str, by: User) -> User | None:
    """Of those whom the administrator sees, by username, WeCom account or name."""
    typed = typed.strip()
    if not typed:
        return None
    named = Q(username__iexact=typed) | Q(name=typed) | Q(wecom_accounts__userid_folded=typed.lower())
    found = list(people_visible_to(by).filter(named).distinct()[:2])
    if len(found) != 1:
        sentence = _("Nobody whom you see is “%(typed)s”.") if not found else _("Several people are “%(typed)s”.")
        raise PreviewRefusedError(sentence % {"typed": typed})
    return found[0]


def _zone(typed: str) -> ZoneInfo:
    """The site's where none is named that there is."""
    return ZoneInfo(typed if typed in all_zones() else settings.TIME_ZONE)


def _moment(typed: str, now: datetime, zone: ZoneInfo) -> datetime:
    """A time such as 2026-11-28 09:00 in the zone; now, where there is none. Raises PreviewRefusedError."""
    try:
        return datetime.fromisoformat(typed).replace(tzinfo=zone) if typed else now
    except ValueError:
        raise PreviewRefusedError(_("Write the time as 2026-11-28 09:00.")) from None
