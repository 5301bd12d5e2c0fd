"""Registry of event consumers. Apps register in AppConfig.ready(), so integrations imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from integrations.hooks import Registry
from integrations.models import CallbackEvent, Corp

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some waiting events of one corp, in the order in which they happened.

    `hold` moves the lane's lease on, and is called in every transaction that writes; it raises LeaseLostError once the
    lane is another worker's. `touch` is told in the same transaction which rows it changes: were it said in the end
    only, a worker that dies before would leave nobody who knows. `tries`: how often each event, by its key, was given
    to this consumer before.
    """

    corp: Corp
    events: Sequence[CallbackEvent]
    clock: Clock
    hold: Callable[[], None]
    touch: Callable[[Sequence[int]], None]
    tries: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch. `again_after`: it is to be repeated then, since something was under way meanwhile.

    `touched`: keys of the rows that were changed, for the consumers that come after this one.
    """

    touched: Sequence[int] = ()
    again_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Consumer:
    """Acts on events. `name` stays: it stands in the database. `after`: the consumer that must be done with an event.

    `wants` says by event and ChangeType whether an event is for it. `consume` is called outside a transaction, may be
    called again with the same events, in another order, and with others that say the same. It raises the errors of
    `integrations.clients.errors` for what should be tried again later.
    """

    name: str
    wants: Callable[[str, str], bool]
    consume: Callable[[Batch], Outcome]
    after: str = ""


# Each event that is stored from now on is given to those that want it.
consumers: Registry[Consumer] = Registry()


def consumer_named(name: str) -> Consumer | None:
    """None for one of a release before this one."""
    return next((one for one in consumers if one.name == name), None)


def consumers_for(event: str, change: str) -> list[Consumer]:
    """In the order of registration."""
    return [one for one in consumers if one.wants(event, change)]


def consumers_after(name: str) -> list[str]:
    """The names of those that wait for this one."""
    return [one.name for one in consumers if one.after == name]
