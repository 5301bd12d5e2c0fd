"""The contents of a subscription's run: a report over the data of its slot, one content for all who see the same rows.

Nothing is fetched here. A run whose report has cards stays waiting, without a worker, until its data is there. Each
fetch that ends queues the run's rendering again (`notifications.tasks.enqueue_waiting_runs`). If that task is lost, the
sweep queues it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, cached_property, partial
from itertools import chain
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

from django.db.models import Exists, F, OuterRef, Prefetch, Q, Subquery, prefetch_related_objects
from django.utils.translation import gettext as _

from accounts.models import AttributeValue, WeComAccount, fold_value
from integrations.bi import build_own_address, is_open
from integrations.core.sentences import NoData, Sentence
from integrations.data.table import Table, to_document
from integrations.datasources import fetch
from integrations.models import Card, CardData
from notifications import models, sources
from notifications.delivery.attachments import RecipientPages
from notifications.delivery.rendering.message_builder import clip_text, tidy_text, tidy_title
from notifications.models import Channel, Delivery, MessageForm, OwnRowsRule, Receipt, ReportCard, Run, Subscription
from notifications.reports.row_filters import AttributeKey, ColumnMissingError, Condition, OwnRows, Values
from notifications.reports.templates import renderer
from notifications.reports.templates.renderer import RenderContext
from notifications.reports.templates.values import ColumnGoneError, TemplateError
from notifications.sources import Content, DataPending, ExpectedContents, RenderingError, RunContents, SkipReason
from notifications.subscriptions.calendar import write_moment_in_zone
from notifications.subscriptions.recipients import (
    Recipient,
    apply_contents,
    make_trial_audience,
    read_audience,
    read_audiences,
    resolve_audiences,
)
from notifications.subscriptions.schedules import read_workdays

K = TypeVar("K")

# Up to this many people are named in the query; for more people, everybody's values of the attributes are read.
PEOPLE_NAMED = 500
# The most recipients of all pushes on a page whose own rows are checked.
CHECKED_AT_MOST = 50_000
FIGURES_AT_MOST = 7
FIGURE_CHARACTERS = 64
_COLON = re.compile(r"[:：]")

# Reads people's values that decide about own rows. Takes user ids, attribute keys and a company or None (the primary).
ReadValues = Callable[[Collection[int], Collection[AttributeKey], int | None], dict[int, Values]]


@dataclass(frozen=True)
class ReportParts:
    """A report with its rows of other tables, saved or drafted."""

    report: models.Report
    cards: Sequence[ReportCard] = ()
    charts: Sequence[models.ReportChart] = ()
    own_rows: Sequence[OwnRowsRule] = ()

    @cached_property
    def conditions(self) -> list[Condition]:
        """Return the conditions that choose each person's own rows."""
        return [
            Condition(one.alias, one.column, one.value)
            if one.value in OwnRowsRule.OF_PERSON
            else Condition(one.alias, one.column, one.attribute_id, one.value)
            for one in self.own_rows
        ]

    def find_latest_tables(self) -> dict[str, Table]:
        """Return the data that was fetched last of each card, by the card's alias."""
        return read_latest_tables({card.alias: card.card_id for card in self.cards})


def read_saved_parts(report: models.Report, *, has_cards: bool = True) -> ReportParts:
    """Read the parts of a saved report. Makes one query for each part that is not prefetched."""
    if not has_cards:
        return ReportParts(report)
    cards = Prefetch("report_cards", ReportCard.objects.select_related("card__source"))
    rules = Prefetch("own_rows_rules", OwnRowsRule.objects.select_related("attribute"))
    prefetch_related_objects([report], cards, "charts", rules)
    rows = list(report.report_cards.all()), list(report.charts.all()), list(report.own_rows_rules.all())
    return ReportParts(report, *rows)


class ReportContents(RunContents):
    """The contents of a report. People who see the same rows share a content, which is written at its first use."""

    def __init__(
        self,
        parts: ReportParts,
        tables: dict[str, Table],
        subscription: Subscription,
        slot_at: datetime,
        pages: RecipientPages | None = None,
        read_values: ReadValues | None = None,
    ) -> None:
        """Check the data. `tables`: by alias of the card; `pages`: of the BI, whose picture goes with the message;
        `read_values`: by default `read_attribute_values`, unless many pushes share a cache. Raises RenderingError if
        own rows or a chart do not fit the data, or if own rows would be chosen from a table that was cut."""
        self._parts, self._report, self._tables = parts, parts.report, tables
        self._subscription, self._slot_at, self._pages = subscription, slot_at, pages
        conditions = parts.conditions
        # Without one of the conditions people could see others' rows. Of a table that was cut they could miss own rows.
        for alias in sorted({one.alias for one in conditions} & tables.keys()):
            if tables[alias].is_cut:
                sentence = Sentence(
                    "Own rows: of “%(card)s” only the first %(count)s rows were read, so that people would miss rows "
                    "of theirs. Raise the limit of its data source, or let the query ask for fewer rows."
                )
                raise RenderingError(sentence % {"card": alias, "count": f"{len(tables[alias].rows):,}"})
        try:
            for condition in conditions:
                if condition.alias not in tables:
                    raise ColumnMissingError(condition.alias, condition.column)
            self._own_rows = OwnRows(tables, conditions, fold_value) if conditions else None
        except ColumnMissingError as error:
            sentence = Sentence(
                "Own rows: the data “%(card)s” has no column “%(column)s”, so that nobody may see its rows."
            )
            raise RenderingError(sentence % {"card": error.alias, "column": error.column}) from error
        self.charts = [(row.alias, row.chart) for row in parts.charts]
        # Charts are checked here, because a chart of a missing column would be left out unnoticed.
        for alias, chart in self.charts:
            names = tables[alias].names if alias in tables else ()
            for column in (chart.x, chart.series, *chart.y) if names else ():
                if column and column not in names:
                    sentence = Sentence("Chart “%(chart)s”: the data “%(card)s” has no column “%(column)s”.")
                    raise RenderingError(sentence % {"chart": chart.title or alias, "card": alias, "column": column})
        self._read_values = read_values or read_attribute_values
        self._values: dict[int, Values] = {}
        self._written: dict[Hashable, Content] = {}
        self._with_pages: dict[tuple[Hashable, sources.PageView], Content] = {}

    @cached_property
    def _link(self) -> str:
        """Return the report's link, else the BI page of the first card that has one."""
        return self._report.link or find_bi_link(one.card for one in self._parts.cards)

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of the data of all cards, to tell whether it has changed; empty without cards."""
        return _make_fingerprint(self._tables) if self._parts.cards else ""

    @property
    def depends_on_person(self) -> bool:
        """Return whether people get rows of their own, or a page with their own rights."""
        return self._own_rows is not None or (self._pages is not None and self._pages.depends_on_person)

    def preload_people(self, user_ids: Collection[int]) -> None:
        """Read the deciding attributes and accounts of all these people at once."""
        if self._own_rows is not None:
            self._values = self._read_values(user_ids, self._own_rows.attribute_ids, self._report.corp_id)
        if self._pages is not None:
            self._pages.preload_people(user_ids)

    def find_skip_reason(self, user_id: int) -> SkipReason | None:
        """Return why the person gets nothing: no rows, if the report skips such people, or no account for the page."""
        skips = self._own_rows is not None and self._report.skips_people_without_rows
        if skips and self._own_rows is not None and self._own_rows.is_empty(self._make_rows_key(user_id)):
            # The person's attributes without a value, if they alone keep the person from seeing any row.
            conditions, values = self._parts.conditions, self._values.get(user_id, {})
            empty: dict[str, list[AttributeKey]] = {one.alias: [] for one in conditions}
            for one in conditions:
                if one.attribute_id is not None and not values.get(one.attribute_id):
                    empty[one.alias].append(one.attribute_id)
            missing = list(dict.fromkeys(chain(*empty.values())))
            if not (missing and all(empty.values())):
                return SkipReason(models.Receipt.Reason.NO_ROWS)
            named = ", ".join(str(self._labels.get(key, key)) for key in missing)
            sentence = Sentence("the person's attribute is empty: %(names)s") % {"names": named}
            return SkipReason(models.Receipt.Reason.NO_VALUE, sentence)
        if self._pages is not None and not self._pages.find_identity(user_id):
            return SkipReason(models.Receipt.Reason.NO_BI_IDENTITY)
        return None

    def make_content_key(self, user_id: int) -> Hashable:
        """Return a key that is equal for people with equal content."""
        identity = "" if self._pages is None else self._pages.find_identity(user_id)
        return self._make_rows_key(user_id), identity

    def find_content(self, user_id: int | None) -> Content:
        """Return the person's content; None: that of a group. Raises RenderingError."""
        if self._own_rows is None:
            key, tables = None, self._tables
        elif user_id is None:
            raise RenderingError(Sentence("Everybody in the group would read the same: own rows cannot go to a robot."))
        else:
            key = self._make_rows_key(user_id)
            tables = self._own_rows.filter_tables(key)
        if key not in self._written:
            self._written[key] = _write_content(self._parts, tables, self._subscription, self._slot_at, self._link)
        if self._pages is None:
            return self._written[key]
        page = self._pages.make_view(user_id)
        return self._with_pages.setdefault((key, page), replace(self._written[key], page=page))

    @cached_property
    def _labels(self) -> dict[AttributeKey, object]:
        """Return the names of the deciding attributes as people see them."""
        attributes = (one.attribute for one in self._parts.own_rows if one.attribute is not None)
        labels: dict[AttributeKey, object] = {one.pk: one for one in attributes}
        labels.update(OwnRowsRule.OF_PERSON)
        return labels

    def _make_rows_key(self, user_id: int) -> Any:
        return None if self._own_rows is None else self._own_rows.make_key(self._values.get(user_id, {}))


def expect_contents(
    parts: ReportParts,
    tables: dict[str, Table],
    subscription: Subscription,
    now: datetime,
    pages: Callable[[], RecipientPages | None],
    read_values: ReadValues | None = None,
) -> ExpectedContents:
    """Return what a push would send over the data fetched last (`tables`). `pages` may raise RenderingError."""
    note, is_known = None, all(one.alias in tables for one in parts.conditions)
    if not is_known:
        note = Sentence("No data was fetched yet: how many people have rows of their own is not known before.")
        parts = replace(parts, own_rows=())
    elif parts.conditions and tables:
        words = {"time": _format_data_time(tables, subscription.time_zone)}
        note = Sentence("Own rows by the data of %(time)s.") % words
    try:
        return ExpectedContents(ReportContents(parts, tables, subscription, now, pages(), read_values), note, is_known)
    except RenderingError as error:
        return ExpectedContents(note=error.sentence, is_known=False)


def _find_pages(
    parts: ReportParts, subscription: Subscription, slot_at: datetime, *, is_trial: bool = False
) -> RecipientPages | None:
    """Return the report's pages; None without a picture of a page.

    Only the owner's own pushes show the page as the owner sees it, and trials never do. Raises RenderingError.
    """
    report = parts.report
    if not report.has_picture:
        return None
    is_owners_push = report.picture_shown_as_id is not None and report.picture_shown_as_id == subscription.owner_id
    shown_as = report.picture_shown_as_id if is_owners_push and not is_trial else None
    return RecipientPages(report, slot_at, owner_id=shown_as)


def expect_saved_contents(subscription: Subscription, now: datetime, *, is_trial: bool = False) -> ExpectedContents:
    """Return what a saved push would send now."""
    parts = read_saved_parts(subscription.report)
    tables = parts.find_latest_tables() if parts.own_rows else {}
    pages = partial(_find_pages, parts, subscription, now, is_trial=is_trial)
    return expect_contents(parts, tables, subscription, now, pages)


def expect_recipients(
    subscriptions: Sequence[Subscription], now: datetime, *, only: int | None = None
) -> dict[int, tuple[ExpectedContents, list[Recipient]]]:
    """Map each push to the contents that it would send now, and to its recipients, found in the way that sending does.
    Recipients who get nothing have the reason.

    The number of queries does not grow with the pushes, except for a few per push with a picture of a page. `only`:
    the only recipient, as if each push named this person.
    """
    cards = Prefetch("report__report_cards", ReportCard.objects.select_related("card__source"))
    rules = Prefetch("report__own_rows_rules", OwnRowsRule.objects.select_related("attribute"))
    prefetch_related_objects(subscriptions, rules, "report__charts", cards)
    parts = {one.pk: read_saved_parts(one.report) for one in subscriptions}
    keys = {card.card_id for one in parts.values() if one.own_rows for card in one.cards}
    tables = read_latest_tables({key: key for key in keys})
    if only is None:
        audiences = read_audiences(subscriptions)
    else:
        audiences = {one.pk: replace(make_trial_audience(one, only), subscription_id=one.pk) for one in subscriptions}
    resolved = resolve_audiences(audiences)
    people = {one.user_id for recipients in resolved.values() for one in recipients if one.reason is None}
    # Read once for all pushes with the same attributes and company.
    read_once = cache(lambda keys, corp_id: read_attribute_values(people, keys, corp_id))

    def read_values(_ids: Collection[int], keys: Collection[AttributeKey], corp_id: int | None) -> dict[int, Values]:
        return read_once(frozenset(keys), corp_id)

    found, checked_count = {}, 0
    for one in subscriptions:
        report_parts = parts[one.pk]
        data = {card.alias: tables[card.card_id] for card in report_parts.cards if card.card_id in tables}
        pages = partial(_find_pages, report_parts, one, now)
        expected = expect_contents(report_parts, data if report_parts.own_rows else {}, one, now, pages, read_values)
        recipients = resolved.get(one.pk)
        if recipients is not None and expected.contents is not None and expected.contents.depends_on_person:
            checked_count += len(recipients)
        if recipients is None or checked_count > CHECKED_AT_MOST:
            note = Sentence("Too many people to count here: the push's page says how many.")
            expected, recipients = ExpectedContents(note=note, is_known=False), []
        found[one.pk] = expected, list(apply_contents(recipients, expected.contents))
    return found


def _write_content(
    parts: ReportParts, tables: dict[str, Table], subscription: Subscription, slot_at: datetime, link: str
) -> Content:
    """Write the content over these tables. Raises RenderingError for a template that fails.

    Notes on stale or cut data come before the text.
    """
    report, time_zone = parts.report, subscription.time_zone
    shown = tuple(sources.CardContent(card.alias, card.heading, tables[card.alias]) for card in parts.cards)
    notes = []
    if _is_stale(tables, subscription, slot_at):
        notes.append(_("The data is stale: it is of %(moment)s.") % {"moment": _format_data_time(tables, time_zone)})
    sentence = _("The data is not whole: of “%(card)s” only the first %(count)s rows were read.")
    notes += [sentence % {"card": one.title, "count": f"{len(one.table.rows):,}"} for one in shown if one.table.is_cut]
    note = "\n".join(notes)
    title, text, figure_lines = report.title, report.body, ""
    if report.is_template:
        context = RenderContext(slot_at, ZoneInfo(time_zone), tables, calendar=read_workdays)
        title = _render_template(Sentence("title"), title, context, "")
        text = _render_template(Sentence("body"), text, context, subscription.message_form)
        figure_lines = _render_template(Sentence("key figures"), report.figures, context, "")
    title, text = tidy_title(title), tidy_text(text)
    text = f"{note}\n{text}" if note else text
    if report.is_template:
        if not title and not text:
            raise RenderingError(Sentence("Title and text are empty."))
        title = title or tidy_title(text.partition("\n")[0])
    figures = []
    for line in figure_lines.splitlines():
        pair = _COLON.split(line, maxsplit=1)
        if len(pair) == 2 and pair[1].strip():
            figures.append(sources.Figure(*(clip_text(part.strip(), FIGURE_CHARACTERS) for part in pair)))
    return Content(
        title=title,
        text=text,
        cards=shown,
        figures=tuple(figures[:FIGURES_AT_MOST]),
        as_of=min((table.as_of for table in tables.values()), default=None),
        note=note,
        link=link,
        time_zone=time_zone,
    )


def find_bi_link(cards: Iterable[Card]) -> str:
    """Return our address of the BI page of the first card that has one; empty if none has."""
    page_id = next((card.bi_page_id for card in cards if card.bi_page_id), "")
    return build_own_address(f"page/{page_id}") if page_id and is_open() else ""


def read_attribute_values(
    user_ids: Collection[int], keys: Collection[AttributeKey], corp_id: int | None = None
) -> dict[int, Values]:
    """Map users and keys to the values, as fold_value makes them alike. Userids and departments are those in the
    company `corp_id`; without it, only those of the primary account, because administrators of other companies choose
    the userids of other accounts. Makes one query for all attributes, and one each for userids and departments."""
    rows = AttributeValue.objects.filter(attribute__in=[key for key in keys if isinstance(key, int)])
    in_corp = Q(is_primary=True) if corp_id is None else Q(corp=corp_id)
    accounts = WeComAccount.objects.complete().filter(in_corp)
    if len(user_ids) <= PEOPLE_NAMED:
        rows, accounts = rows.filter(user__in=user_ids), accounts.filter(user__in=user_ids)
    found: dict[int, dict[AttributeKey, set[str]]] = defaultdict(lambda: defaultdict(set))
    for user_id, attribute_id, folded in rows.values_list("user_id", "attribute_id", "folded").iterator():
        found[user_id][attribute_id].add(folded)
    if "@userid" in keys:
        for user_id, userid in accounts.values_list("user_id", "userid"):
            found[user_id]["@userid"].add(fold_value(userid))
    if "@department" in keys:
        department = "corp__members__departments"
        is_present = {f"{department}__removed_at": None, f"{department}__name__gt": ""}
        accounts = accounts.filter(**is_present, corp__members__userid_folded=F("userid_folded"))
        for user_id, name in accounts.values_list("user_id", f"{department}__name"):
            found[user_id]["@department"].add(fold_value(name))
    return {
        user_id: {key: frozenset(values) for key, values in values_by_key.items()}
        for user_id, values_by_key in found.items()
    }


_SKIPPABLE_TRIGGERS = frozenset({Run.Trigger.SCHEDULE, Run.Trigger.URL, Run.Trigger.DATA_UPDATE})


def _render_template(part: Sentence, source: str, context: RenderContext, form: str) -> str:
    """Render one part of a report, named in the sentence of an error. Raises RenderingError."""
    try:
        return renderer.render_template(source, context, form)
    except TemplateError as error:
        sentence, reason = Sentence("Template of the %(part)s: %(error)s"), error.sentence
        if isinstance(error.__cause__, ColumnGoneError):  # the data has changed; the template is right
            reason = error.__cause__.sentence
            sentence = Sentence(
                "The data does not fit the %(part)s: %(error)s Choose the column again on the push's page."
            )
        raise RenderingError(sentence % {"part": part, "error": reason}) from error


def _make_fingerprint(tables: Mapping[str, Table]) -> str:
    """Return a digest of columns and rows; the time of the data does not count."""
    digest = hashlib.sha256()
    for alias, table in sorted(tables.items()):
        document = to_document(table)
        shown = [alias, document["columns"], document["rows"], document["is_cut"]]
        digest.update(json.dumps(shown, ensure_ascii=False).encode())
    return digest.hexdigest()


def _is_stale(tables: Mapping[str, Table], subscription: Subscription, slot_at: datetime) -> bool:
    """Return whether the oldest data is older at the slot than the push allows."""
    oldest, minutes = min((table.as_of for table in tables.values()), default=None), subscription.stale_after_minutes
    return oldest is not None and minutes is not None and oldest < slot_at - timedelta(minutes=minutes)


def _format_data_time(tables: Mapping[str, Table], time_zone: str) -> str:
    """Return the day, or the moment in the zone, of the oldest data."""
    oldest = min(tables.values(), key=lambda table: table.as_of, default=None)
    return "" if oldest is None else str(oldest.as_of_day or write_moment_in_zone(oldest.as_of, time_zone))


# Fetches normally end long before. A fetch that never ends must not stop its subscription for ever.
WAIT_AT_MOST = timedelta(hours=1)


# Statuses of messages that reach people, or may reach them.
_SENT_STATUSES = ("preparing", "pending", "sending", "accepted", "unknown")


@dataclass(frozen=True)
class SubscriptionSource(sources.RunSource):
    """The source of a push's run, or of a draft (notifications.delivery.rendering.preview). `tables`, `pages`: of a
    draft; a draft is always worth sending, a run loads its own data."""

    run: Run
    subscription: Subscription
    parts: ReportParts
    tables: dict[str, Table] | None = None
    pages: RecipientPages | None = None

    @classmethod
    def for_run(cls, run: Run) -> Self | None:
        """Return the source of a push's run; None for a run of another kind. Raise RenderingError without the push."""
        if run.trigger in Run.WITHOUT_SUBSCRIPTION or run.message_id is not None:
            return None
        if run.subscription is None:
            raise RenderingError(Sentence("The push was deleted before its messages were made."))
        # Rendering annotates `has_cards`: most reports have no cards, and this saves their queries.
        parts = read_saved_parts(run.subscription.report, has_cards=getattr(run, "has_cards", True))
        return cls(run, run.subscription, parts)

    @property
    def terms(self) -> sources.Terms:
        """Return form, priority, hours until it expires, company and link of the messages."""
        subscription, report = self.subscription, self.parts.report
        form = MessageForm(subscription.message_form)
        return sources.Terms(form, subscription.priority, subscription.lifetime_hours, report.corp_id, report.link)

    def find_audience(self) -> sources.Audience:
        """Return who is chosen at this moment. A trial goes to one person: the chosen one, else who asked for it."""
        run, subscription = self.run, self.subscription
        if run.trigger == Run.Trigger.TRIAL:
            return make_trial_audience(subscription, run.tried_on_id or run.requested_by_id)
        if run.resends is None:
            return read_audience(subscription)
        # A resend goes only to people whom that run (or its one message) did not reach, by the present channels.
        receipts = Receipt.objects.unreached(run.resends, mark=run.resends_mark, with_unknown=run.resends_unknown)
        has_robot = subscription.channel == Channel.ROBOT and receipts.filter(channel=Channel.ROBOT).exists()
        return replace(
            read_audience(subscription),
            user_ids=receipts.filter(user__isnull=False).values("user_id"),
            group_ids=(),
            department_ids=(),
            rules=(),
            to_everyone=False,
            robot_id=subscription.robot_id if has_robot else None,
        )

    def build_contents(self, *, now: datetime) -> ReportContents:
        """Return the contents over the data of the run's slot. Data that was not requested yet is requested.

        Raises DataPending while some data is being fetched, RenderingError if some cannot be fetched, NotWorthSending.
        """
        if self.tables is not None:
            return ReportContents(self.parts, self.tables, self.subscription, self.run.slot_at, self.pages)
        slot_at, cards = self.run.slot_at, self.parts.cards
        card_ids = {one.card_id for one in cards}
        found = fetch.find_card_data(card_ids, slot_at=slot_at) if cards else {}
        waiting = []
        for one in cards:
            state = found.get(one.card_id)
            if state is not None and state.status == CardData.Status.FAILED:
                raise RenderingError(_explain_missing_data(one, state))
            if state is None or state.status != CardData.Status.READY:
                waiting.append(one)
        if waiting and now > self.run.claimed_at + WAIT_AT_MOST:
            raise RenderingError(_explain_missing_data(waiting[0], Sentence("nothing came within an hour.")))
        if missing := card_ids - found.keys():
            fetch.request_data(missing, slot_at=slot_at, now=now)
        if waiting:
            raise DataPending
        tables = {one.alias: found[one.card_id].table for one in cards}
        if reason := self.find_reason_to_skip(tables):
            raise sources.NotWorthSending(reason)
        is_trial = self.run.original_run.trigger == Run.Trigger.TRIAL
        pages = _find_pages(self.parts, self.subscription, slot_at, is_trial=is_trial)
        return ReportContents(self.parts, tables, self.subscription, slot_at, pages)

    def find_reason_to_skip(self, tables: dict[str, Table]) -> Sentence | None:
        """Return why the run is not worth sending; None if it is, or if somebody asked for it by hand."""
        if not tables or self.run.trigger not in _SKIPPABLE_TRIGGERS:
            return None
        push = self.subscription
        if push.skips_empty and not any(table.rows for table in tables.values()):
            return Sentence("Not sent: the data is empty.")
        if push.if_stale == models.IfStale.SKIP and _is_stale(tables, push, self.run.slot_at):
            moment = _format_data_time(tables, push.time_zone)
            return Sentence("Not sent: the data is of %(moment)s, too old.") % {"moment": moment}
        if not push.skips_unchanged:
            return None
        # The last whole run that reached, or may have reached, somebody. If messages of that run expired or were
        # refused, some people still lack the data. Invalid recipients do not count: they could not get it now either.
        before = Run.objects.filter(subscription=self.run.subscription_id).exclude(fingerprint="")
        whole = before.exclude(pk=self.run.pk).exclude(trigger__in=Run.PARTIAL)
        arrived = whole.filter(deliveries__status__in=_SENT_STATUSES).distinct()
        is_invalid_for_all = Q(recipient_count__lte=F("invalid_count") + F("unlicensed_count"))
        is_undelivered = Q(status="canceled") | (Q(status="failed") & ~is_invalid_for_all)
        undelivered = Delivery.objects.filter(is_undelivered, run=OuterRef("pk"))
        found = (
            arrived.annotate(is_partial=Exists(undelivered)).order_by("-pk").values_list("fingerprint", "is_partial")
        )
        if found.first() == (_make_fingerprint(tables), False):
            return Sentence("Not sent: the data is the same as in the message before.")
        return None


# --- The data of a run or a page ---


def read_latest_tables(cards: Mapping[K, int]) -> dict[K, Table]:
    """Return the data that was fetched last of each card, by the keys of `cards`; cards without data are left out.
    Permissions are not checked: the ids of cards come from our own rows. Makes one query."""
    ready = CardData.objects.filter(card=OuterRef("pk"), status=CardData.Status.READY)
    last = Subquery(ready.order_by("-finished_at", "-pk").values("pk")[:1])
    known = Card.objects.filter(pk__in=set(cards.values())).annotate(last=last)
    newest = CardData.objects.filter(pk__in=known.values("last"))
    tables = {one.card_id: one.table for one in newest}
    return {key: tables[card_id] for key, card_id in cards.items() if card_id in tables}


def find_problem_so_far(run: Run) -> Sentence | None:
    """Return why the data of a run is missing, if a fetch has failed and will be repeated."""
    found = find_card_data(run)
    return next((_explain_missing_data(card, state) for card, state in found if state.problem_code), None)


def find_card_data(run: Run) -> list[tuple[ReportCard, CardData]]:
    """Return the cards of the run's report with their data of the run's slot, as far as it was requested."""
    if run.subscription is None:
        return []
    cards = list(ReportCard.objects.filter(report=run.subscription.report_id).select_related("card__source"))
    found = fetch.find_card_data({one.card_id for one in cards}, slot_at=run.slot_at)
    return [(card, found[card.card_id]) for card in cards if card.card_id in found]


def _explain_missing_data(card: ReportCard, problem: Sentence | CardData) -> Sentence:
    reason = NoData(problem.problem_code, problem.problem_facts) if isinstance(problem, CardData) else problem
    return Sentence("There is no data of “%(card)s”: %(problem)s") % {"card": card.card, "problem": reason}
