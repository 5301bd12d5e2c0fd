"""Protocol of run sources: content and recipients of a run, or why it has none. Registered in AppConfig.ready().

Rendering asks the source of a run and knows none of the kinds. Subscriptions, alerts, owner notices and messages of
other systems are such kinds.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.db.models import QuerySet

from accounts.models import Attribute
from integrations.clients.snapshots import Options
from integrations.core.sentences import Sentence, SentenceError
from integrations.data.table import Table
from integrations.hooks import Hook
from notifications.charts.definition import Chart
from notifications.models import Channel, Medium, MessageForm, Operator, Receipt, RulesMatch, Run

if TYPE_CHECKING:
    from integrations.clients.wecom.builders import MessageError
    from integrations.models import Corp, SiteAddress


class RenderingError(SentenceError):
    """The run cannot become a message."""

    @classmethod
    def of(cls, error: MessageError) -> RenderingError:
        """Make the error of a value that WeCom would refuse, with its reason."""
        return cls(Sentence("This cannot be a message: %(reason)s") % {"reason": error})


class NotWorthSending(SentenceError):  # noqa: N818  # no error: as the subscription asks
    """The run is not sent."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in words, with what it is: "昨日降水", "12.3 毫米 ↑5.0%". The first of a content stands out in cards."""

    caption: str
    words: str


@dataclass(frozen=True, slots=True)
class CardContent:
    """The table of one card of the report, cut down to the slice. `alias`: its name in templates; `title`: as people
    read it."""

    alias: str
    title: str
    table: Table


@dataclass(frozen=True, slots=True)
class ReadyMedium:
    """A picture or a file that came with a message of another system: nothing is made of it."""

    medium_id: int
    kind: Medium.Kind
    name: str


@dataclass(frozen=True, slots=True)
class PageView:
    """A page or card of the BI as one account there sees it. `path`: without its first slash; `name`: its heading;
    `slot_at`: the time for which it is taken; `options`: how it is shown, but for what depends on the message's form.
    """

    path: str
    identity: str
    name: str
    slot_at: datetime
    options: Options


@dataclass(frozen=True, slots=True)
class Content:
    """What a message is made of, before it has a form's bytes: nothing in it depends on who of the slice gets it.

    `title` is one line of plain text. `text` is for the message form for which it was rendered: what came out of
    cells is escaped for that form already. `cards` are in the report's order; a report without cards has none.
    `as_of`: of the oldest table; `note`: that the data is stale or cut, in words, or empty; it begins `text` already.
    `link`: where the message leads, a page of the BI where the report names no other; empty: nowhere. `time_zone`: of
    all of its times, by name; empty for what was frozen before it was kept: the site's. `media`: what came with it; a
    content has these or cards. `page`: of the BI, a picture of which goes with it.
    """

    title: str
    text: str
    cards: tuple[CardContent, ...] = ()
    figures: tuple[Figure, ...] = ()
    as_of: datetime | None = None
    note: str = ""
    link: str = ""
    time_zone: str = ""
    media: tuple[ReadyMedium, ...] = ()
    page: PageView | None = None

    @property
    def is_fetch_time(self) -> bool:
        """Return whether `as_of` is only when the oldest table was fetched."""
        return any(card.table.is_fetch_time and card.table.as_of == self.as_of for card in self.cards)

    @property
    def as_of_day(self) -> date | None:
        """Return the day at whose end the oldest table was true; None where `as_of` is a moment."""
        return next((card.table.as_of_day for card in self.cards if card.table.as_of == self.as_of), None)

    @property
    def tables(self) -> dict[str, Table]:
        """Return the tables by their cards' aliases, in the report's order."""
        return {card.alias: card.table for card in self.cards}


@dataclass(frozen=True)
class Rule:
    """A condition on one attribute, as orders and their forms have it. `values`: exactly one unless ONE_OF."""

    attribute: Attribute
    operator: Operator
    values: tuple[str, ...]


@dataclass(frozen=True)
class Audience:
    """A choice of people, as a subscription, an alert receiver or a form names them, and the ways to reach them.
    `corp_id`: the only company that is meant.

    `department_ids`: as chosen; with `with_subdepartments` the departments below count, too. A robot's group is nobody
    in particular: such an audience has no people. `rules`: whoever matches all of them, or any, as `rules_match` says.
    """

    user_ids: Collection[int] | QuerySet[Any, Any] = ()
    group_ids: Collection[int] = ()
    to_everyone: bool = False
    corp_id: int | None = None
    department_ids: Collection[int] = ()
    with_subdepartments: bool = True
    rules: tuple[Rule, ...] = ()
    rules_match: str = RulesMatch.ALL
    channel: str = Channel.WECOM
    fallback_channel: str = ""
    robot_id: int | None = None
    # Whose recipients may have paused it. Empty: nobody's choice counts, as for a trial.
    subscription_id: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How the messages of a run are made and how long they may wait. `corp_id`: of the company with which a mail stands
    whose reader has none; `link`: where a message leads whose content names no page."""

    form: MessageForm
    priority: int
    lifetime_hours: int
    corp_id: int | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a person gets nothing. `detail`: the reason more exactly, where there is more to say."""

    reason: Receipt.Reason
    detail: Sentence | None = None


class RunContents(Protocol):
    """What the people of one run get. `is_split`: whether it depends on who they are; then `learn` comes first."""

    @property
    def is_split(self) -> bool: ...

    @property
    def charts(self) -> Sequence[tuple[str, Chart]]:
        """Each with the alias of its card."""

    @property
    def fingerprint(self) -> str:
        """Equal where the data is; empty without data."""

    def learn(self, user_ids: Collection[int]) -> None:
        """Read at once what decides what each of these people gets."""

    def reason_against(self, user_id: int) -> LeftOut | None:
        """Why the person gets nothing; None for who does."""

    def key_of(self, user_id: int) -> Hashable:
        """Equal for people who get the same."""

    def of(self, user_id: int | None) -> Content:
        """Return what the person gets; None: a group, which is nobody. Raises RenderingError."""


@dataclass(frozen=True)
class Expected:
    """The sending that would happen, to tell before it is sent who gets it. `contents`: None where everybody gets the
    same, or where nothing could be sent. `note`: from when the data is that decides, or, if not `is_known`, why nobody
    can say who gets it.
    """

    contents: RunContents | None = None
    note: Sentence | None = None
    is_known: bool = True


NOT_KNOWN = Expected()


@dataclass(frozen=True, slots=True)
class OneContent:
    """Contents without data: everybody gets the same."""

    content: Content
    is_split = False
    charts: ClassVar[Sequence[tuple[str, Chart]]] = ()
    fingerprint = ""

    def learn(self, user_ids: Collection[int]) -> None:
        """Nothing depends on them."""

    def reason_against(self, user_id: int) -> None:
        """Everybody gets it."""

    def key_of(self, user_id: int) -> Hashable:
        return None

    def of(self, user_id: int | None) -> Content:
        return self.content


class RunSource(Protocol):
    """What one run sends."""

    @property
    def terms(self) -> Terms: ...

    def audience(self) -> Audience:
        """Whom the run is for, now."""

    def contents(self, *, now: datetime) -> RunContents:
        """Raises RenderingError, NotWorthSending or DataPending where nothing is to be sent, or not yet."""

    def app_body(
        self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime
    ) -> bytes | None:
        """The bytes for people of one company's app; None: those of the message form. Asked inside the transaction that
        freezes them."""
        return None

    def note_unreached(self, reason: str) -> None:
        """The run ended without a message for anybody. `reason`: a stored sentence. Called inside the transaction that
        ends it."""
        return


# Asked for the source of a run. None: a run of this trigger is another one's.
run_sources: Hook[[Run], RunSource | None] = Hook()


def source_of(run: Run) -> RunSource:
    """Find the source of a run. Raises LookupError for a trigger that no source is registered for."""
    source = run_sources.first(run)
    if source is None:
        raise LookupError(run.trigger)
    return source
