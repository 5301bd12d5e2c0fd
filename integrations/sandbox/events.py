"""What WeCom tells an app's callback address: events and members' messages, waiting to be delivered."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LOG_LENGTH = 5000
_message_ids = itertools.count(7_000_000_000_000_000_001)


@dataclass(slots=True)
class Outgoing:
    """One event. `agentid` None: to the directory-sync assistant. `on_reply` gets the passive reply, decrypted."""

    corpid: str
    agentid: int | None
    elements: Mapping[str, object]
    on_reply: Callable[[Element], None] | None = None


@dataclass(slots=True)
class DeliveryRecord:
    """One try to deliver one event. `outcome`: ok, replied, or what went wrong."""

    at: float
    corpid: str
    agentid: int | None
    event: str
    attempt: int
    outcome: str
    status: int = 0

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Outbox:
    """Events in the order in which they happened. `wake` is called when one was added."""

    waiting: deque[Outgoing] = field(default_factory=deque)
    log: deque[DeliveryRecord] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    wake: Callable[[], None] = lambda: None

    def add(self, outgoing: Outgoing) -> None:
        self.waiting.append(outgoing)
        self.wake()


def event(
    corpid: str, agentid: int | None, name: str, *, now: float, userid: str = "sys", **elements: object
) -> dict[str, object]:
    """The elements of an event, in WeCom's order; AgentID last, absent for the sync assistant."""
    common = {"ToUserName": corpid, "FromUserName": userid, "CreateTime": int(now), "MsgType": "event", "Event": name}
    return common | elements | ({} if agentid is None else {"AgentID": agentid})


def ordinary(corpid: str, agentid: int, kind: str, *, now: float, userid: str, **elements: object) -> dict[str, object]:
    """The elements of a message that a member wrote to an app."""
    common = {"ToUserName": corpid, "FromUserName": userid, "CreateTime": int(now), "MsgType": kind}
    return common | elements | {"MsgId": next(_message_ids), "AgentID": agentid}
