"""Messages after they were accepted: on whose phone they stand, what was dropped, what a card looks like to whom."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from wecom_sandbox.settings import Settings

INBOX_LENGTH = 200
KEPT_MESSAGES = 200_000


@dataclass(slots=True)
class CardView:
    """What one person sees of a card after a click or an update: another card, or its buttons greyed by a text."""

    card: dict[str, object] | None = None
    replace_name: str = ""
    # What this person chose: question key to option ids; {} with `clicked_key` for a plain button.
    selected: dict[str, list[str]] = field(default_factory=dict)
    clicked_key: str = ""


@dataclass(slots=True, eq=False)
class Message:
    """One accepted message. `agentid` None and `robot` set: from a group robot. `sender`: a member's, to the app."""

    msgid: str
    corpid: str
    agentid: int | None
    msgtype: str
    content: dict[str, object]
    sent_at: float
    safe: int = 0
    chatid: str = ""
    robot: str = ""
    sender: str = ""
    receivers: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    recalled: bool = False
    views: dict[str, CardView] = field(default_factory=dict)

    def rename(self, old: str, new: str) -> None:
        """One receiver under another folded userid."""
        self.receivers = tuple(new if one == old else one for one in self.receivers)
        self.dropped = tuple(new if one == old else one for one in self.dropped)
        self.sender = new if self.sender == old else self.sender
        if old in self.views:
            self.views[new] = self.views.pop(old)

    def as_json(self, folded: str | None = None) -> dict[str, object]:
        """For the control interface; with `folded`, as this member sees a card."""
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
    """The right to update a card once. `folded`: who clicked, or "" for the code of the sending itself."""

    value: str
    message: Message
    expires_at: float
    folded: str = ""
    used: bool = False


class Mailroom:
    """All messages of all companies. Old ones go when there are more than KEPT_MESSAGES, or INBOX_LENGTH a person."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.messages: OrderedDict[str, Message] = OrderedDict()
        self.inboxes: dict[tuple[str, str], deque[Message]] = {}
        self.groups: dict[tuple[str, str], deque[Message]] = {}
        self.response_codes: OrderedDict[str, ResponseCode] = OrderedDict()
        self.task_ids: set[tuple[str, int, str]] = set()
        self.person_times: dict[tuple[str, int, int], int] = {}
        self._recent: OrderedDict[tuple[str, int, bytes], float] = OrderedDict()

    def deliver(self, message: Message) -> None:
        """Put it on the phones of its receivers."""
        self._keep(message)
        for folded in message.receivers:
            inbox = self.inboxes.get((message.corpid, folded))
            if inbox is None:
                inbox = self.inboxes[message.corpid, folded] = deque(maxlen=INBOX_LENGTH)
            inbox.append(message)
        if message.agentid is not None and not message.sender and not message.chatid:
            key = (message.corpid, message.agentid, china_day(message.sent_at))
            self.person_times[key] = self.person_times.get(key, 0) + len(message.receivers)

    def deliver_to_group(self, message: Message) -> None:
        """A robot's message: everybody of the company sees the robot's conversation."""
        self._keep(message)
        key = (message.corpid, message.robot)
        self.groups.setdefault(key, deque(maxlen=INBOX_LENGTH)).append(message)

    def _keep(self, message: Message) -> None:
        self.messages[message.msgid] = message
        if len(self.messages) > KEPT_MESSAGES:
            self.messages.popitem(last=False)

    def inbox(self, corpid: str, folded: str) -> list[Message]:
        """Oldest first; recalled ones included, with `recalled` set."""
        return list(self.inboxes.get((corpid, folded), ()))

    def rename(self, corpid: str, old: str, new: str) -> None:
        """A person's messages, and what she chose in them, under another folded userid."""
        inbox = self.inboxes.pop((corpid, old), None)
        if inbox is not None:
            self.inboxes[corpid, new] = inbox
        for message in dict.fromkeys((*(inbox or ()), *self.messages.values())):
            if message.corpid == corpid and (old in message.receivers or old in message.dropped):
                message.rename(old, new)
        for code in self.response_codes.values():
            if code.message.corpid == corpid and code.folded == old:
                code.folded = new

    def is_duplicate(self, corpid: str, agentid: int, body: bytes, *, now: float) -> bool:
        """Whether the identical JSON was accepted, and its interval is not over."""
        return self._recent.get((corpid, agentid, hashlib.sha256(body).digest()), 0.0) > now

    def remember(self, corpid: str, agentid: int, body: bytes, *, seconds: int, now: float) -> None:
        """This JSON was accepted: the identical one is a duplicate for so many seconds.

        Above KEPT_MESSAGES the oldest is forgotten, over or not: looking for what is over would be work for each send.
        """
        key = (corpid, agentid, hashlib.sha256(body).digest())
        self._recent[key] = now + seconds
        self._recent.move_to_end(key)
        if len(self._recent) > KEPT_MESSAGES:
            self._recent.popitem(last=False)

    def new_response_code(self, message: Message, *, now: float, folded: str = "") -> str:
        code = ResponseCode(new_id("rc"), message, now + self._settings.response_code_seconds, folded)
        self.response_codes[code.value] = code
        if len(self.response_codes) > KEPT_MESSAGES:
            self.response_codes.popitem(last=False)
        return code.value


def china_day(now: float) -> int:
    """WeCom's day: that of China."""
    return int(now + 8 * 3600) // 86_400


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_urlsafe(24)}"
