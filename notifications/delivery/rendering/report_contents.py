"""What a subscription sends: a report over the data of its slot, one content per slice of recipients."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db.models import Exists, F, OuterRef, Prefetch, Q, prefetch_related_objects
from django.utils.translation import gettext as _

from accounts.models import Attribute, AttributeValue, WeComAccount, fold_value
from accounts.users import bi_identity
from integrations.bi import is_open, own_address
from integrations.core.sentences import Sentence
from integrations.data.table import Table
from integrations.models import Card
from notifications.charts.definition import Chart
from notifications.delivery.rendering import report_data, skip_rules
from notifications.delivery.rendering.attachments import RecipientPages, find_pages
from notifications.delivery.rendering.message_builder import clip_text, tidy_text, tidy_title
from notifications.models import (
    Delivery,
    MessageForm,
    OwnRowsRule,
    PagePicture,
    Receipt,
    Report,
    ReportCard,
    ReportChart,
    Run,
    Subscription,
)
from notifications.reports.row_filters import ColumnMissingError, Condition, Key, OwnRows, Values, missing_values
from notifications.reports.templates import renderer
from notifications.reports.templates.renderer import Given
from notifications.reports.templates.values import ColumnGoneError, TemplateError
from notifications.sources import (
    Audience,
    CardContent,
    Content,
    Expected,
    Figure,
    LeftOut,
    NotWorthSending,
    PageView,
    RenderingError,
    Terms,
)
from notifications.subscriptions.calendar import moment_line
from notifications.subscriptions.recipients import (
    Recipient,
    apply_contents,
    audience_of,
    named_audiences,
    resolve_audiences,
    trial_audience,
)
from notifications.subscriptions.schedules import read_workdays

if TYPE_CHECKING:
    from integrations.models import Corp, SiteAddress

# Whose attributes are read by name; of more people all values of the attributes are read.
PEOPLE_NAMED = 500
# Whose own rows are looked up for one page, for all its pushes together.
CHECKED_AT_MOST = 50_000
FIGURES_AT_MOST = 7
FIGURE_CHARACTERS = 64
_COLON = re.compile(r"[:：]")  # noqa: RUF001  # both


@dataclass(frozen=True)
class Order:
    """What a report is written for. `form`: for which the text is escaped."""

    form: str
    slot_at: datetime
    time_zone: str
    rules: skip_rules.Rules = skip_rules.Rules()

    @property
    def zone(self) -> ZoneInfo:
        """Of the subscription's times and of the times in cells."""
        return ZoneInfo(self.time_zone)


def order_of(subscription: Subscription, slot_at: datetime) -> Order:
    """What the subscription asks of its report for one time of its schedule."""
    return Order(subscription.message_form, slot_at, subscription.time_zone, rules_of(subscription))


def rules_of(subscription: Subscription) -> skip_rules.Rules:
    """When the subscription is not sent."""
    minutes = subscription.stale_after_minutes
    return skip_rules.Rules(
        if_empty=subscription.skips_empty,
        if_unchanged=subscription.skips_unchanged,
        stale_after=None if minutes is None else timedelta(minutes=minutes),
        if_stale=subscription.if_stale,
    )


class AttributeReader:
    """Reads what own rows are chosen by: of the people asked for, or of all `people` once, for any number of pushes."""

    def __init__(self, people: Collection[int] | None = None) -> None:
        self._people = people
        self._known: dict[Hashable, dict[int, Values]] = {}

    def read(self, user_ids: Collection[int], keys: Collection[Key], corp_id: int | None) -> dict[int, Values]:
        """Return the values of these people at least."""
        if self._people is None:
            return attribute_values(user_ids, keys, corp_id)
        wanted = (frozenset(keys), corp_id)
        if wanted not in self._known:
            self._known[wanted] = attribute_values(self._people, keys, corp_id)
        return self._known[wanted]

    @cached_property
    def labels(self) -> dict[Key, object]:
        """Return what rows are chosen by, as people call it. One query."""
        return {**OwnRowsRule.OF_PERSON, **Attribute.objects.in_bulk()}


@dataclass(frozen=True)
class ReportParts:
    """What the engine reads of a report, saved or as its page has it. `picture`: of a page of the BI."""

    report: Report
    cards: Sequence[ReportCard] = ()
    charts: Sequence[ReportChart] = ()
    own_rows: Sequence[OwnRowsRule] = ()
    picture: PagePicture | None = None

    @cached_property
    def conditions(self) -> list[Condition]:
        """Return its rules of own rows."""
        return [
            Condition(one.alias, one.column, one.value)
            if one.value in OwnRowsRule.OF_PERSON
            else Condition(one.alias, one.column, one.attribute_id, one.value)
            for one in self.own_rows
        ]

    def find_latest_tables(self) -> dict[str, Table]:
        """Find what was fetched last of each card, by its alias."""
        return report_data.latest_tables({card.alias: card.card_id for card in self.cards})


def read_saved_parts(report: Report, *, has_cards: bool = True) -> ReportParts:
    """Read the parts of a saved report. A query for each that was not read with it."""
    picture: PagePicture | None = getattr(report, "page_picture", None)
    if not has_cards:
        return ReportParts(report, picture=picture)
    cards = Prefetch("report_cards", ReportCard.objects.select_related("card__source"))
    prefetch_related_objects([report], cards, "charts", "own_rows_rules")
    rows = list(report.report_cards.all()), list(report.charts.all()), list(report.own_rows_rules.all())
    return ReportParts(report, *rows, picture)


class Contents:
    """One content for each distinct slice, written when it is first asked for (notifications.sources.RunContents)."""

    def __init__(
        self,
        parts: ReportParts,
        tables: dict[str, Table],
        order: Order,
        pages: RecipientPages | None = None,
        reader: AttributeReader | None = None,
    ) -> None:
        """`tables`: by the aliases of the cards; `pages`: those of the BI of which a picture goes with it; `reader`:
        shared with other pushes. Raises RenderingError where a rule of own rows or a chart does not fit the data, or
        the data is not whole: nobody sees anything then."""
        self._parts, self._report, self._tables = parts, parts.report, tables
        self._order, self._pages, self._conditions = order, pages, parts.conditions
        _check_whole(tables, {one.alias for one in parts.conditions})
        self._own_rows = checked_own_rows(tables, parts.conditions) if parts.conditions else None
        self.charts = [(row.alias, row.chart) for row in parts.charts]
        _check_charts(tables, self.charts)
        self._reader = reader or AttributeReader()
        self._values: dict[int, Values] = {}
        self._written: dict[Hashable, Content] = {}
        self._with_pages: dict[tuple[Hashable, PageView], Content] = {}

    @cached_property
    def _link(self) -> str:
        """Where its messages lead: as the report says, else to the page in the BI of the first card that has one."""
        return self._report.link or bi_link(one.card for one in self._parts.cards)

    @cached_property
    def fingerprint(self) -> str:
        """Of the data of all cards, to tell whether it has changed; empty without cards."""
        return skip_rules.fingerprint(self._tables) if self._parts.cards else ""

    @property
    def is_split(self) -> bool:
        """Whether people get rows of their own, or a page with their own rights."""
        return self._own_rows is not None or (self._pages is not None and self._pages.is_split)

    def learn(self, user_ids: Collection[int]) -> None:
        """Read the attributes and the accounts that decide, of all these people at once."""
        if self._own_rows is not None:
            self._values = self._reader.read(user_ids, self._own_rows.attribute_ids, self._report.corp_id)
        if self._pages is not None:
            self._pages.learn(user_ids)

    def reason_against(self, user_id: int) -> LeftOut | None:
        """Of somebody who sees no rows where the report is not for such people, or no page."""
        skips = self._own_rows is not None and self._report.skips_people_without_rows
        if skips and self._own_rows is not None and self._own_rows.is_empty(self._rows_key(user_id)):
            missing = missing_values(self._conditions, self._values.get(user_id, {}))
            if not missing:
                return LeftOut(Receipt.Reason.NO_ROWS)
            named = ", ".join(str(self._reader.labels.get(key, key)) for key in missing)
            sentence = Sentence("the person's attribute is empty: %(names)s") % {"names": named}
            return LeftOut(Receipt.Reason.NO_VALUE, sentence)
        if self._pages is not None and not self._pages.identity_of(user_id):
            return LeftOut(Receipt.Reason.NO_BI_IDENTITY)
        return None

    def key_of(self, user_id: int) -> Hashable:
        """Equal for people who get the same."""
        identity = "" if self._pages is None else self._pages.identity_of(user_id)
        return self._rows_key(user_id), identity

    def of(self, user_id: int | None) -> Content:
        """What the person gets; None: a group, which is nobody. Raises RenderingError."""
        if self._own_rows is None:
            key, tables = None, self._tables
        elif user_id is None:
            raise RenderingError(Sentence("Everybody in the group would read the same: own rows cannot go to a robot."))
        else:
            key = self._rows_key(user_id)
            tables = self._own_rows.tables(key)
        if key not in self._written:
            self._written[key] = written(self._parts, tables, self._order, self._link)
        if self._pages is None:
            return self._written[key]
        page = self._pages.view_of(user_id)
        return self._with_pages.setdefault((key, page), replace(self._written[key], page=page))

    def _rows_key(self, user_id: int) -> Any:
        return None if self._own_rows is None else self._own_rows.key(self._values.get(user_id, {}))


def expect(
    parts: ReportParts,
    tables: dict[str, Table],
    order: Order,
    pages: Callable[[], RecipientPages | None],
    reader: AttributeReader | None = None,
) -> Expected:
    """`tables`: what was fetched last: nothing is fetched for a page. `pages`: may raise RenderingError."""
    note, is_known = None, all(one.alias in tables for one in parts.conditions)
    if not is_known:
        note = Sentence("No data was fetched yet: how many people have rows of their own is not known before.")
        parts = replace(parts, own_rows=())
    elif parts.conditions and tables:
        note = Sentence("Own rows by the data of %(time)s.") % {"time": _as_of_line(tables, order.time_zone)}
    try:
        return Expected(Contents(parts, tables, order, pages(), reader), note, is_known)
    except RenderingError as error:
        return Expected(note=error.sentence, is_known=False)


def expected_contents(subscription: Subscription, now: datetime, *, is_trial: bool = False) -> Expected:
    """Return what a saved push would send now."""
    parts = read_saved_parts(subscription.report)
    tables = parts.find_latest_tables() if parts.own_rows else {}
    pages = partial(find_pages, parts.picture, subscription.owner_id, now, is_trial=is_trial)
    return expect(parts, tables, order_of(subscription, now), pages)


def expect_recipients(
    subscriptions: Sequence[Subscription], now: datetime, *, only: int | None = None
) -> dict[int, tuple[Expected, list[Recipient]]]:
    """Map each push to what it would send now and to whom, as sending finds it, with the reason of who gets nothing.

    The number of queries does not depend on how many pushes there are, but for two for each that carries a picture of
    a page. `only`: for this person alone, as if each push named them.
    """
    cards = Prefetch("report__report_cards", ReportCard.objects.select_related("card__source"))
    prefetch_related_objects(subscriptions, "report__own_rows_rules", "report__charts", "report__page_picture", cards)
    parts = {one.pk: read_saved_parts(one.report) for one in subscriptions}
    keys = {card.card_id for its in parts.values() if its.own_rows for card in its.cards}
    tables = report_data.latest_tables({key: key for key in keys})
    if only is None:
        audiences = named_audiences(subscriptions)
    else:
        audiences = {one.pk: replace(trial_audience(one, only), subscription_id=one.pk) for one in subscriptions}
    resolved = resolve_audiences(audiences)
    people = {one.user_id for theirs in resolved.values() for one in theirs if one.reason is None}
    reader = AttributeReader(people)
    find_identities = cache(lambda: bi_identity.identities(people))
    found, checked = {}, 0
    for one in subscriptions:
        its = parts[one.pk]
        data = {card.alias: tables[card.card_id] for card in its.cards if card.card_id in tables}
        identities: Any = {"find_identities": lambda _ids: find_identities()}
        pages = partial(find_pages, its.picture, one.owner_id, now, is_trial=False, **identities)
        expected = expect(its, data if its.own_rows else {}, order_of(one, now), pages, reader)
        recipients = resolved.get(one.pk)
        if recipients is not None and expected.contents is not None and expected.contents.is_split:
            checked += len(recipients)
        if recipients is None or checked > CHECKED_AT_MOST:
            note = Sentence("Too many people to count here: the push's page says how many.")
            expected, recipients = Expected(note=note, is_known=False), []
        found[one.pk] = expected, list(apply_contents(recipients, expected.contents))
    return found


def written(parts: ReportParts, tables: dict[str, Table], order: Order, link: str = "") -> Content:
    """The content over these tables. Raises RenderingError for a template that fails.

    What is wrong with the data as a whole, stale or cut, is said before the text.
    """
    report = parts.report
    shown = tuple(CardContent(card.alias, card.heading, tables[card.alias]) for card in parts.cards)
    note = "\n".join(filter(None, [_stale_note(tables, order), *_cut_notes(shown)]))
    title, text, figures = report.title, report.body, ""
    if report.is_template:
        given = Given(order.slot_at, order.zone, tables, calendar=read_workdays)
        title = _rendered(Sentence("title"), title, given, "")
        text = _rendered(Sentence("body"), text, given, order.form)
        figures = _rendered(Sentence("key figures"), report.figures, given, "")
    title, text = tidy_title(title), tidy_text(text)
    text = f"{note}\n{text}" if note else text
    if report.is_template:
        if not title and not text:
            raise RenderingError(Sentence("Title and text are empty."))
        title = title or tidy_title(text.partition("\n")[0])
    return Content(
        title=title,
        text=text,
        cards=shown,
        figures=_figures(figures),
        as_of=skip_rules.as_of(tables),
        note=note,
        link=link,
        time_zone=order.time_zone,
    )


def bi_link(cards: Iterable[Card]) -> str:
    """To the page in the BI of the first card that has one, by our address of it; empty where there is none."""
    page_id = next((card.bi_page_id for card in cards if card.bi_page_id), "")
    return own_address(f"page/{page_id}") if page_id and is_open() else ""


def attribute_values(user_ids: Collection[int], keys: Collection[Key], corp_id: int | None = None) -> dict[int, Values]:
    """Map users and keys to the folded values. Accounts and departments: those in the one company, else of the account
    that receives messages, because whoever administers another company names its accounts. A query for all attributes,
    and one each for accounts and departments.
    """
    rows = AttributeValue.objects.filter(attribute__in=[key for key in keys if isinstance(key, int)])
    meant = Q(is_primary=True) if corp_id is None else Q(corp=corp_id)
    accounts = WeComAccount.objects.complete().filter(meant)
    if len(user_ids) <= PEOPLE_NAMED:
        rows, accounts = rows.filter(user__in=user_ids), accounts.filter(user__in=user_ids)
    found: dict[int, dict[Key, set[str]]] = defaultdict(lambda: defaultdict(set))
    for user_id, attribute_id, folded in rows.values_list("user_id", "attribute_id", "folded").iterator():
        found[user_id][attribute_id].add(folded)
    if "@userid" in keys:
        for user_id, userid in accounts.values_list("user_id", "userid"):
            found[user_id]["@userid"].add(fold_value(userid))
    if "@department" in keys:
        department = "corp__members__memberships__department"
        standing = {f"{department}__removed_at": None, f"{department}__name__gt": ""}
        accounts = accounts.filter(**standing, corp__members__userid_folded=F("userid_folded"))
        for user_id, name in accounts.values_list("user_id", f"{department}__name"):
            found[user_id]["@department"].add(fold_value(name))
    return {
        user_id: {attribute_id: frozenset(values) for attribute_id, values in theirs.items()}
        for user_id, theirs in found.items()
    }


_SKIPPED = frozenset({Run.Trigger.SCHEDULE, Run.Trigger.URL, Run.Trigger.DATA_UPDATE})


def _check_charts(tables: Mapping[str, Table], charts: Iterable[tuple[str, Chart]]) -> None:
    """A chart of a column that is not there any more would only be left out, and nobody would learn of it. Raises
    RenderingError."""
    for alias, chart in charts:
        names = tables[alias].names if alias in tables else ()
        for column in (chart.x, chart.series, *chart.y) if names else ():
            if column and column not in names:
                sentence = Sentence("Chart “%(chart)s”: the card “%(card)s” has no column “%(column)s”.")
                raise RenderingError(sentence % {"chart": chart.title or alias, "card": alias, "column": column})


def _check_whole(tables: Mapping[str, Table], aliases: set[str]) -> None:
    """Partial data is not sent: the rows behind the limit are somebody's: they would be told that they have none, or
    read sums without them, and nobody would notice. Raises RenderingError."""
    for alias in sorted(aliases & tables.keys()):
        if tables[alias].is_cut:
            sentence = Sentence(
                "Own rows: of the card “%(card)s” only the first %(count)s rows were read, so that people would miss "
                "rows of theirs. Raise the limit of its data source, or let the card ask for fewer rows."
            )
            raise RenderingError(sentence % {"card": alias, "count": f"{len(tables[alias].rows):,}"})


def checked_own_rows(tables: dict[str, Table], conditions: Sequence[Condition]) -> OwnRows:
    """Raises RenderingError for a column or a card that is not there: a rule that is left over hides something."""
    try:
        for condition in conditions:
            if condition.alias not in tables:
                raise ColumnMissingError(condition.alias, condition.column)
        return OwnRows(tables, conditions, fold_value)
    except ColumnMissingError as error:
        sentence = Sentence(
            "Own rows: the card “%(card)s” has no column “%(column)s”, so that nobody may see its rows."
        )
        raise RenderingError(sentence % {"card": error.alias, "column": error.column}) from error


def _rendered(part: Sentence, source: str, given: Given, form: str) -> str:
    try:
        return renderer.rendered(source, given, form)
    except TemplateError as error:
        sentence, why = Sentence("Template of the %(part)s: %(error)s"), error.sentence
        if isinstance(error.__cause__, ColumnGoneError):  # not the template is to blame: the data has changed
            why = error.__cause__.sentence
            sentence = Sentence(
                "The data does not fit the %(part)s: %(error)s Choose the column again on the push's page."
            )
        raise RenderingError(sentence % {"part": part, "error": why}) from error


def _figures(text: str) -> tuple[Figure, ...]:
    found = []
    for line in text.splitlines():
        parts = _COLON.split(line, maxsplit=1)
        if len(parts) == 2 and parts[1].strip():
            found.append(Figure(*(clip_text(part.strip(), FIGURE_CHARACTERS) for part in parts)))
    return tuple(found[:FIGURES_AT_MOST])


def _stale_note(tables: dict[str, Table], order: Order) -> str:
    if not skip_rules.is_stale(tables, order.rules, order.slot_at):
        return ""
    return skip_rules.stale_note(_as_of_line(tables, order.time_zone))


def _as_of_line(tables: Mapping[str, Table], time_zone: str) -> str:
    """Say when all of the data was true: a day, or a moment in the zone."""
    oldest = min(tables.values(), key=lambda table: table.as_of, default=None)
    return "" if oldest is None else str(oldest.as_of_day or moment_line(oldest.as_of, time_zone))


def _cut_notes(cards: Sequence[CardContent]) -> list[str]:
    sentence = _("The data is not whole: of “%(card)s” only the first %(count)s rows were read.")
    return [
        sentence % {"card": card.title, "count": f"{len(card.table.rows):,}"} for card in cards if card.table.is_cut
    ]


def _last_fingerprint(run: Run) -> str:
    """Find the fingerprint of the last whole run that reached, or may have reached, somebody.

    Empty where its message expired or was refused for others, who lack it still. Those whom WeCom does not know could
    not get it again either.
    """
    before = Run.objects.filter(subscription=run.subscription_id).exclude(fingerprint="").exclude(pk=run.pk)
    arrived = before.exclude(trigger__in=Run.PARTIAL).filter(deliveries__status__in=_SENT).distinct()
    is_invalid_for_all = Q(recipient_count__lte=F("invalid_count") + F("unlicensed_count"))
    lost = Delivery.objects.filter(
        Q(status="canceled") | (Q(status="failed") & ~is_invalid_for_all), run=OuterRef("pk")
    )
    last = arrived.annotate(is_partial=Exists(lost)).order_by("-pk").values_list("fingerprint", "is_partial").first()
    return "" if last is None or last[1] else last[0]


_SENT = ("preparing", "pending", "sending", "accepted", "unknown")


@dataclass(frozen=True)
class SubscriptionSource:
    """The source of a push's run, or of a draft of one (notifications.delivery.rendering.preview). `tables`: of a
    draft; a run has its own, and that it is sent is to be asked of it then. `pages`: of a draft."""

    run: Run
    subscription: Subscription
    parts: ReportParts
    tables: dict[str, Table] | None = None
    pages: RecipientPages | None = None

    @property
    def terms(self) -> Terms:
        """Form, priority, hours until it expires, company and link of the messages."""
        subscription, report = self.subscription, self.parts.report
        form = MessageForm(subscription.message_form)
        return Terms(form, subscription.priority, subscription.lifetime_hours, report.corp_id, report.link)

    def audience(self) -> Audience:
        """Who is chosen, and who of them cannot be reached and why, at this moment."""
        return audience_of(self.run, self.subscription)

    def contents(self, *, now: datetime) -> Contents:
        """Raises RenderingError, NotWorthSending and DataPending."""
        order = order_of(self.subscription, self.run.slot_at)
        if self.tables is not None:
            return Contents(self.parts, self.tables, order, self.pages)
        tables = report_data.load(self.run, self.parts.cards, now=now)
        if reason := self.find_reason_to_skip(tables):
            raise NotWorthSending(reason)
        is_trial = self.run.first_sent.trigger == Run.Trigger.TRIAL
        pages = find_pages(self.parts.picture, self.subscription.owner_id, self.run.slot_at, is_trial=is_trial)
        return Contents(self.parts, tables, order, pages)

    def find_reason_to_skip(self, tables: dict[str, Table]) -> Sentence | None:
        """Why the run is not worth sending; None where it is, and for what somebody asks for by hand."""
        if not tables or self.run.trigger not in _SKIPPED:
            return None
        rules = rules_of(self.subscription)
        return skip_rules.reason_to_skip(
            tables,
            rules,
            slot_at=self.run.slot_at,
            print_of_last=_last_fingerprint(self.run) if rules.if_unchanged else "",
            moment=_as_of_line(tables, self.subscription.time_zone),
        )

    def app_body(self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime) -> None:
        """As its message form says."""

    def note_unreached(self, reason: str) -> None:
        """Its run says it."""


def source_of_subscription(run: Run) -> SubscriptionSource | None:
    """Raises RenderingError where the subscription is gone."""
    if run.trigger in Run.OF_THEIR_OWN or run.message_id is not None:
        return None
    if run.subscription is None:
        raise RenderingError(Sentence("The push was deleted before its messages were made."))
    # Annotated where rendering reads the run: most have no cards, and need not be asked for them.
    parts = read_saved_parts(run.subscription.report, has_cards=getattr(run, "has_cards", True))
    return SubscriptionSource(run, run.subscription, parts)
