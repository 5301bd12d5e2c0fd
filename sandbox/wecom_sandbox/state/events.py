"""Events and members' messages for the callback addresses of apps, until they are delivered."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wecom_sandbox.messages.inbox import Ring

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LOG_LENGTH = 5000
# Most waiting events of all apps together; above it the longest queue loses its oldest event.
WAITING_MOST = 100_000
# An app of a company; agentid None: its directory-sync assistant.
Receiver = tuple[str, int | None]
Elements = dict[str, object]
_message_ids = itertools.count(7_000_000_000_000_000_001)


@dataclass(slots=True)
class Callback:
    """Callback address of an app or the directory-sync assistant: the three fields of the console's page."""

    url: str = ""
    token: str = ""
    aes_key: str = ""


@dataclass(slots=True)
class Outgoing:
    """Event to send. `agentid` None: to the directory-sync assistant. `on_reply` gets the decrypted passive reply."""

    corpid: str
    agentid: int | None
    elements: Mapping[str, object]
    on_reply: Callable[[Element], None] | None = None

    @property
    def receiver(self) -> Receiver:
        return self.corpid, self.agentid

    def make_record(self, at: float, *, attempt: int, outcome: str, status: int = 0) -> DeliveryRecord:
        name = str(self.elements.get("Event") or self.elements.get("MsgType", ""))
        return DeliveryRecord(at, self.corpid, self.agentid, name, attempt, outcome, status)


@dataclass(slots=True)
class DeliveryRecord:
    """A try to deliver an event. `outcome`: ok, replied, or the problem. `attempt` 0: dropped before a try."""

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
    """Events in their order, one queue per app. `wake` is called when an event was added or finished."""

    queues: dict[Receiver, deque[Outgoing]] = field(default_factory=dict)
    # Number of events being delivered to each app.
    running: Counter[Receiver] = field(default_factory=Counter)
    log: Ring[DeliveryRecord] = field(default_factory=lambda: Ring(LOG_LENGTH))
    wake: Callable[[], None] = lambda: None

    def add(self, outgoing: Outgoing) -> None:
        self.queues.setdefault(outgoing.receiver, deque()).append(outgoing)
        if self.waiting > WAITING_MOST:
            self._drop_oldest_event()
        self.wake()

    def _drop_oldest_event(self) -> None:
        """Drop the oldest event of the longest queue, in most cases of an app whose address hangs."""
        lost = max(self.queues.values(), key=len).popleft()
        at = float(str(lost.elements["CreateTime"]))
        self.log.add(lost.make_record(at, attempt=0, outcome="given up: too many events wait"))

    def claim(self, *, most_running: int) -> Iterator[Outgoing]:
        """Yield the events to send now, up to `most_running` at once per app. Each must be passed to `finish`."""
        for receiver, queue in list(self.queues.items()):
            while queue and self.running[receiver] < most_running:
                self.running[receiver] += 1
                yield queue.popleft()
            if not queue:
                del self.queues[receiver]

    def finish(self, outgoing: Outgoing) -> None:
        """Note that this event was delivered or given up, so that the next may be sent."""
        self.running[outgoing.receiver] -= 1
        if not self.running[outgoing.receiver]:
            del self.running[outgoing.receiver]
        self.wake()

    @property
    def waiting(self) -> int:
        """The number of events not yet tried."""
        return sum(map(len, self.queues.values()))

    @property
    def under_way(self) -> int:
        """The number of events being delivered or tried again."""
        return self.running.total()


def make_event(
    corpid: str, agentid: int | None, name: str, *, now: float, userid: str = "sys", **elements: object
) -> Elements:
    """Return the elements of an event in WeCom's order; AgentID last, absent for the sync assistant."""
    common = {"ToUserName": corpid, "FromUserName": userid, "CreateTime": int(now), "MsgType": "event", "Event": name}
    return common | elements | ({} if agentid is None else {"AgentID": agentid})


def make_user_message(corpid: str, agentid: int, kind: str, *, now: float, userid: str, **elements: object) -> Elements:
    """Return the elements of a message that a member wrote to an app."""
    common = {"ToUserName": corpid, "FromUserName": userid, "CreateTime": int(now), "MsgType": kind}
    return common | elements | {"MsgId": next(_message_ids), "AgentID": agentid}
