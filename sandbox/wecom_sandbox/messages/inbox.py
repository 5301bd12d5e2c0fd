"""Accepted messages: the phones that show them, the people who do not get them, and each person's view of a card."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, Generic, TypeVar

from wecom_sandbox.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, oldest first. `after`: start of the next page. `missed`: number of rows dropped before they were read."""

    rows: list[T]
    after: int
    more: bool
    missed: int


class Ring(Generic[T]):
    """The newest `most` rows (None: all), oldest first. A row's place is the number of rows added before it. The rows
    are in a list: an empty deque takes ten times as much memory, and each of 100,000 people has a ring."""

    __slots__ = ("_most", "_rows", "_start", "added")

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        # The places before `_start` are empty; they are removed once they are half of the list.
        self._rows: list[Any] = []
        self._start = 0
        self.added = 0  # rows so far, dropped ones included

    def add(self, row: T) -> None:
        self._rows.append(row)
        self.added += 1
        if self._most is not None and len(self) > self._most:
            self.drop()

    def drop(self) -> T:
        """Remove and return the oldest row. Raise IndexError."""
        row: T = self._rows[self._start]
        self._rows[self._start] = None
        self._start += 1
        if self._start * 2 >= len(self._rows):
            del self._rows[: self._start]
            self._start = 0
        return row

    def clear(self) -> None:
        self._rows.clear()
        self._start = 0

    @property
    def oldest(self) -> T | None:
        return self._rows[self._start] if self else None

    @property
    def newest(self) -> T | None:
        return self._rows[-1] if self else None

    def page(self, after: int, most: int, wanted: Callable[[T], bool] = lambda row: True) -> Page[T]:
        """Return at most `most` wanted rows from the place `after` on (0: from the oldest)."""
        first = self.added - len(self)
        start = min(max(after, first), self.added)
        rest = zip(count(start + 1), self._from(start - first), strict=False)
        found = list(islice(((next_place, row) for next_place, row in rest if wanted(row)), most))
        end = found[-1][0] if len(found) == most else self.added
        return Page([row for _, row in found], end, end < self.added, max(0, first - after))

    def _from(self, index: int) -> Iterator[T]:
        return map(self._rows.__getitem__, range(self._start + index, len(self._rows)))

    def __len__(self) -> int:
        return len(self._rows) - self._start

    def __iter__(self) -> Iterator[T]:
        return self._from(0)

    def __reversed__(self) -> Iterator[T]:
        return map(self._rows.__getitem__, range(len(self._rows) - 1, self._start - 1, -1))


_TABLES = 8


class RecentMessages:
    """Times until which identical JSON is a duplicate, for the newest `most` messages or up to an eighth fewer. They
    are in tables of one size, of which the oldest is dropped as a whole. If one table dropped its oldest rows one by
    one, Python would rebuild it again and again, each time with room for three times as many."""

    def __init__(self, most: int) -> None:
        self._rows_each = max(1, most // _TABLES)
        self._tables: deque[dict[bytes, float]] = deque([{}], maxlen=_TABLES)

    def add(self, corpid: str, agentid: int, body: bytes, *, until: float) -> None:
        if len(self._tables[-1]) == self._rows_each:
            self._tables.append({})
        self._tables[-1][_make_key(corpid, agentid, body)] = until

    def find_end(self, corpid: str, agentid: int, body: bytes) -> float:
        """Return the end of the interval; 0.0 if the message was not accepted, or long ago."""
        key = _make_key(corpid, agentid, body)
        return next((table[key] for table in reversed(self._tables) if key in table), 0.0)

    def __len__(self) -> int:
        return sum(map(len, self._tables))


def _make_key(corpid: str, agentid: int, body: bytes) -> bytes:
    found = hashlib.sha256(f"{corpid}/{agentid}/".encode())
    found.update(body)
    return found.digest()


INBOX_LENGTH = 200
# Limit of one company's messages, in characters of contents and receivers.
CHARACTERS_MOST = 200_000_000
# Most response codes of all companies together, and most messages that are checked for duplicates.
CODES_MOST = 200_000
# Weight of a message beside its content (an id, times, places in lists), and of each receiver.
_MESSAGE_CHARACTERS, _RECEIVER_CHARACTERS = 400, 16


@dataclass(slots=True)
class CardView:
    """View of a card for one person after a click or an update: another card, or greyed buttons with a text."""

    card: dict[str, object] | None = None
    replace_name: str = ""
    # The person's choice: question key to option ids; {} for a plain button, which sets `clicked_key` only.
    selected: dict[str, list[str]] = field(default_factory=dict)
    clicked_key: str = ""


@dataclass(slots=True, eq=False)
class Message:
    """An accepted message. `robot` set, `agentid` None: from a group robot."""

    msgid: str
    corpid: str
    agentid: int | None
    msgtype: str
    content: dict[str, object]
    sent_at: float
    safe: int = 0
    chatid: str = ""
    robot: str = ""
    sender: str = ""  # the member who wrote it; nobody else sees it
    receivers: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()  # people who do not get it, because they got too many
    recalled: bool = False
    views: dict[str, CardView] = field(default_factory=dict)
    # For a card, the codes that allow an update; they are dropped with the message.
    codes: list[str] | None = None
    # Number of characters that count against CHARACTERS_MOST.
    weight: int = 0

    def rename(self, old: str, new: str) -> None:
        """Move one receiver to another folded userid."""
        self.receivers = tuple(new if one == old else one for one in self.receivers)
        self.dropped = tuple(new if one == old else one for one in self.dropped)
        self.sender = new if self.sender == old else self.sender
        if old in self.views:
            self.views[new] = self.views.pop(old)

    def as_json(self, folded: str | None = None) -> dict[str, object]:
        """Return JSON for the control interface; with `folded`, with this member's view of a card."""
        document: dict[str, object] = {
            "msgid": self.msgid,
            "agentid": self.agentid,
            "msgtype": self.msgtype,
            self.msgtype: self.content,
            "sent_at": self.sent_at,
            "safe": self.safe,
            "chatid": self.chatid,
            "robot": self.robot,
            "sender": self.sender,
            "recalled": self.recalled,
        }
        if folded is None:
            return {**document, "receivers": list(self.receivers), "dropped": list(self.dropped)}
        view = self.views.get(folded)
        if view is not None:
            document |= {"card": view.card, "replace_name": view.replace_name, "clicked_key": view.clicked_key}
            document["selected"] = view.selected
        return document


@dataclass(slots=True)
class ResponseCode:
    """The right to update a card once. `folded`: who clicked, or "" for the code of the message itself."""

    value: str
    message: Message
    expires_at: float
    folded: str = ""
    used: bool = False


class MessageStore:
    """Store of messages: at most `messages_kept` of a company and INBOX_LENGTH on a phone; the oldest are dropped.

    A message that its company's ring drops disappears from all phones, so memory does not grow without limit.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.messages: dict[str, Message] = {}
        self.companies: dict[str, Ring[Message]] = {}
        self.inboxes: dict[tuple[str, str], Ring[Message]] = {}
        # Messages of a company's robot, by its key.
        self.groups: dict[tuple[str, str], Ring[Message]] = {}
        self.response_codes: OrderedDict[str, ResponseCode] = OrderedDict()
        self.task_ids: set[tuple[str, int, str]] = set()
        self._weights: dict[str, int] = {}
        # One string for each folded userid, because it occurs in thousands of messages.
        self._names: dict[str, str] = {}
        self._recent = RecentMessages(CODES_MOST)

    def deliver(self, message: Message) -> None:
        """Put the message on the phones of its receivers."""
        self._store(message)
        for folded in message.receivers:
            inbox = self.inboxes.get((message.corpid, folded))
            if inbox is None:
                inbox = self.inboxes[message.corpid, folded] = Ring(INBOX_LENGTH)
            inbox.add(message)

    def deliver_to_group(self, message: Message) -> None:
        """Add a robot's message to the robot's conversation, which everybody in the company sees."""
        self._store(message)
        key = (message.corpid, message.robot)
        if key not in self.groups:
            self.groups[key] = Ring(INBOX_LENGTH)
        self.groups[key].add(message)

    def restore(self, message: Message) -> None:
        """Store and deliver a message of a snapshot again."""
        if message.robot:
            self.deliver_to_group(message)
        else:
            self.deliver(message)
        if message.msgtype == "template_card" and message.agentid is not None:
            self.task_ids.add((message.corpid, message.agentid, str(message.content.get("task_id", ""))))

    def _store(self, message: Message) -> None:
        corpid = message.corpid
        message.receivers = tuple(self._names.setdefault(folded, folded) for folded in message.receivers)
        people = len(message.receivers) + len(message.dropped)
        message.weight = _MESSAGE_CHARACTERS + len(repr(message.content)) + _RECEIVER_CHARACTERS * people
        self.messages[message.msgid] = message
        if corpid not in self.companies:
            self.companies[corpid] = Ring()
        ring = self.companies[corpid]
        ring.add(message)
        self._weights[corpid] = self._weights.get(corpid, 0) + message.weight
        most = max(1, self._settings.messages_kept)
        while len(ring) > most or (self._weights[corpid] > CHARACTERS_MOST and len(ring) > 1):
            self._forget(ring.drop())

    def _forget(self, message: Message) -> None:
        """Remove the oldest message of its company. In every list that holds it, it is the first."""
        del self.messages[message.msgid]
        self._weights[message.corpid] -= message.weight
        for folded in message.receivers:
            _drop_oldest(self.inboxes, (message.corpid, folded), message)
        _drop_oldest(self.groups, (message.corpid, message.robot), message)
        for value in message.codes or ():
            self.response_codes.pop(value, None)
        if message.msgtype == "template_card" and message.agentid is not None:
            self.task_ids.discard((message.corpid, message.agentid, str(message.content.get("task_id", ""))))

    def forget_company(self, corpid: str) -> None:
        """Remove all messages of the company."""
        ring = self.companies.pop(corpid, None)
        while ring:
            self._forget(ring.drop())
        self._weights.pop(corpid, None)

    def inbox(self, corpid: str, folded: str) -> list[Message]:
        """Return a person's messages, oldest first; recalled ones included, with `recalled` set."""
        return list(self.inboxes.get((corpid, folded), ()))

    def rename(self, corpid: str, old: str, new: str) -> None:
        """Move a person's messages, and the choices in them, to another folded userid."""
        inbox = self.inboxes.pop((corpid, old), None)
        if inbox is not None:
            self.inboxes[corpid, new] = inbox
        for message in self.companies.get(corpid, ()):
            if old in message.receivers or old in message.dropped:
                message.rename(old, new)
        for code in self.response_codes.values():
            if code.message.corpid == corpid and code.folded == old:
                code.folded = new

    def is_duplicate(self, corpid: str, agentid: int, body: bytes, *, now: float) -> bool:
        """Return whether identical JSON was accepted and its interval is not over."""
        return self._recent.find_end(corpid, agentid, body) > now

    def remember(self, corpid: str, agentid: int, body: bytes, *, seconds: int, now: float) -> None:
        """Remember that this JSON was accepted: identical JSON is a duplicate for `seconds`."""
        self._recent.add(corpid, agentid, body, until=now + seconds)

    def new_response_code(self, message: Message, *, now: float, folded: str = "") -> str:
        code = ResponseCode(make_id("rc"), message, now + self._settings.response_code_seconds, folded)
        self.put_code(code)
        return code.value

    def put_code(self, code: ResponseCode) -> None:
        self.response_codes[code.value] = code
        code.message.codes = [*(code.message.codes or ()), code.value]
        if len(self.response_codes) > CODES_MOST:
            self.response_codes.popitem(last=False)


def _drop_oldest(rings: dict[tuple[str, str], Ring[Message]], key: tuple[str, str], message: Message) -> None:
    """Remove the message if it is the first; remove an empty ring, too."""
    ring = rings.get(key)
    if ring is not None and ring.oldest is message:
        ring.drop()
        if not ring:
            del rings[key]


def count_days_in_china(now: float) -> int:
    """Return the number of days since 1970 in China's time zone. WeCom's daily limits count such days."""
    return int(now + 8 * 3600) // 86_400


def make_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_urlsafe(24)}"
