"""The protocol of run sources, which give the content and the audience of a run. AppConfig.ready() registers them.

Rendering treats all kinds of sources alike: subscriptions, alerts, owner notices, and messages of other systems.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from django.db.models import QuerySet

from accounts.models import Attribute
from integrations.clients.snapshots import PictureOptions
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
        """Make the error from a client's error about a value that WeCom would refuse."""
        return cls(Sentence("This cannot be a message: %(reason)s") % {"reason": error})


class NotWorthSending(SentenceError):  # without "Error", because this is no failure
    """The run is not sent, because its subscription's conditions for sending are not met."""


class DataPending(Exception):  # without "Error", because this is no failure
    """The run waits, because a part of its data is still being fetched."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in words with its caption: "昨日降水", "12.3 毫米 ↑5.0%". Cards show the first figure large."""

    caption: str
    words: str


@dataclass(frozen=True, slots=True)
class CardContent:
    """The table of a card of the report, with only the rows that the recipient may see. `alias`: the card's name in
    templates; `title`: its name for people."""

    alias: str
    title: str
    table: Table


@dataclass(frozen=True, slots=True)
class ReadyMedium:
    """A picture or a file that came with a message of another system and is sent unchanged."""

    medium_id: int
    kind: Medium.Kind
    name: str


@dataclass(frozen=True, slots=True)
class PageView:
    """A page or card of the BI as the BI's account `identity` sees it. `path`: without the first slash; `name`: the
    heading; `slot_at`: the slot of the run; `options`: how the page is shown, except what depends on the message's
    form."""

    path: str
    identity: str
    name: str
    slot_at: datetime
    options: PictureOptions


@dataclass(frozen=True, slots=True)
class Content:
    """Content of a message, before it becomes the bytes of a form. People who see the same rows share it.

    `title` is one line of plain text. `text` is for the message form for which it was rendered: values of cells are
    escaped for that form already. `cards` are in the report's order. `as_of`: time of the oldest table. `note`: a
    sentence if the data is stale or was cut, else empty; `text` already begins with it. `link`: the page that the
    message leads to, a page of the BI unless the report names another; empty: none. `time_zone`: name of the zone of
    all times in the content; empty, which means the site's zone, in contents that older versions wrote. `media`: files
    that came with a message of another system, which has no cards. `page`: page of the BI whose picture goes with it.
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
        """Return whether `as_of` is only the time when the oldest table was fetched."""
        return any(card.table.is_fetch_time and card.table.as_of == self.as_of for card in self.cards)

    @property
    def as_of_day(self) -> date | None:
        """Return the last day that the oldest table covers; None if `as_of` is a moment."""
        return next((card.table.as_of_day for card in self.cards if card.table.as_of == self.as_of), None)

    @property
    def tables(self) -> dict[str, Table]:
        """Return the tables by their cards' aliases, in the report's order."""
        return {card.alias: card.table for card in self.cards}


@dataclass(frozen=True)
class Rule:
    """A condition on one attribute, from a saved rule or a form. `values`: exactly one, unless `operator` is ONE_OF."""

    attribute: Attribute
    operator: Operator
    values: tuple[str, ...]


@dataclass(frozen=True)
class Audience:
    """A choice of people, as a subscription, an alert rule or an admin form names them, and the channels to reach them.
    `corp_id`: only people of this company. `department_ids`: as chosen; with `with_subdepartments` the departments
    below count, too. `rules`: chooses people who match all of them, or any, as `rules_match` says. `robot_id`: the
    message goes to the robot's group instead, and the audience has no people."""

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
    # Subscription whose recipients may have paused or declined it. None: that is ignored, as for a trial.
    subscription_id: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Form, priority and lifetime of a run's messages. `corp_id`: company for mails to people without one; `link`:
    where a message leads if its content names no page."""

    form: MessageForm
    priority: int
    lifetime_hours: int
    corp_id: int | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class SkipReason:
    """Reason why a person gets nothing. `detail`: more about the reason, if there is more to say."""

    reason: Receipt.Reason
    detail: Sentence | None = None


class RunContents:
    """Contents of a run. This class has one content for everybody; subclasses have contents that depend on the person.
    `charts`: each with the alias of its card."""

    charts: Sequence[tuple[str, Chart]] = ()

    def __init__(self, content: Content) -> None:
        self._content = content

    @property
    def depends_on_person(self) -> bool:
        """Return whether the content depends on the person: then call `preload_people` first."""
        return False

    @property
    def fingerprint(self) -> str:
        """Return a text that is equal for equal data; empty without data."""
        return ""

    def preload_people(self, user_ids: Collection[int]) -> None:
        """Read at once what the other methods need to know about these people."""

    def find_skip_reason(self, user_id: int) -> SkipReason | None:
        """Return why the person gets nothing; None if they get something."""
        return None

    def make_content_key(self, user_id: int) -> Hashable:
        """Return a key that is equal for people who get the same content."""
        return None

    def find_content(self, user_id: int | None) -> Content:
        """Return the person's content; for None, the content of a group. Raise RenderingError."""
        return self._content


@dataclass(frozen=True)
class ExpectedContents:
    """The contents that a push would send now, for pages that show its recipients beforehand. `contents`: None if
    everybody gets the same, or nothing could be sent. `is_known`: whether the data that decides who gets a message is
    there. `note`: the time of that data, or the reason why it is not there."""

    contents: RunContents | None = None
    note: Sentence | None = None
    is_known: bool = True


NO_CONTENTS = ExpectedContents()


class RunSource(Protocol):
    """Terms, audience and contents of one run."""

    @property
    def terms(self) -> Terms: ...

    def find_audience(self) -> Audience:
        """Return the present audience of the run."""

    def build_contents(self, *, now: datetime) -> RunContents:
        """Return the contents. Raise RenderingError, NotWorthSending or DataPending if nothing is to be sent, or not
        yet."""

    def build_app_body(
        self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime
    ) -> bytes | None:
        """Return a request body to people of one company's app, with the delivery's `mark`; None if it is to be made of
        the content and the message form. Called inside the transaction that stores the body."""
        return None

    def note_unreached(self, reason: str) -> None:
        """Note that the run ended without reaching anybody. `reason`: a sentence as rows store it. Called inside the
        transaction that ends the run."""
        return


# Functions that return the source of a run, or None if the run belongs to another source.
run_sources: Hook[[Run], RunSource | None] = Hook()
