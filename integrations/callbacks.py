"""WeCom's callbacks: verification of addresses, storage of events, and the queue of their work.

Each corp has two addresses with separate keys: the app's, and the one of the contacts assistant (通讯录同步).
Both answer while the corp is disabled, because WeCom needs them before anything else is set up.

The queue has one row for each event and consumer, and one worker at a time for each company and consumer.
Order of calls: `consumers.register` in AppConfig.ready(), so integrations imports no consumer; `add_work` in the
transaction that stores the event; after its commit `work_through` in a worker; `due_lanes` every few seconds finds
lost work.
"""

from __future__ import annotations

import logging
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlencode

import redis
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Length
from django.urls import reverse

from integrations.clients.errors import IntegrationError, RateLimitedError, UnreadableSecretError
from integrations.clients.wecom import callbacks as wire
from integrations.clients.wecom.callbacks import CallbackCrypto, CallbackError
from integrations.core.background import Clock, log_errors
from integrations.core.client_factory import CALLBACK_COLUMNS, callback_crypto
from integrations.core.redis import valkey
from integrations.hooks import Registry
from integrations.models import CallbackEvent, Corp, EventLane, EventWork
from integrations.models.jobs import LET_GO, LeaseLostError, Moment

logger = logging.getLogger(__name__)

# How long a silent worker keeps its lane: longer than one call to WeCom with all repeats.
LEASE = timedelta(seconds=120)
BATCH = 100
LANES_AT_ONCE = 200
# A worker releases the lane after so long, so that others get their turn.
TURN = timedelta(seconds=60)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=15)
# How long an event is retried while the other side does not answer. By then the nightly run has read everything.
TRIED_FOR = timedelta(hours=36)
# How often an event is retried that causes an error in our own program.
TRIES_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Waiting events of one corp, in order of time.

    `hold` extends the lane's lease. Call it in every transaction that writes; it raises LeaseLostError once another
    worker has the lane. `touch` records the changed rows: call it in the same transaction, so that a worker that dies
    later loses no record. `tries`: how often each event, by its key, was given to this consumer before.
    """

    corp: Corp
    events: Sequence[CallbackEvent]
    clock: Clock
    hold: Callable[[], None]
    touch: Callable[[Sequence[int]], None]
    tries: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a batch. `again_after`: repeat it after this time, because something was under way meanwhile.

    `touched`: keys of the changed rows, for later consumers.
    """

    touched: Sequence[int] = ()
    again_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer of events. `name` must not change: it is in the database. `after`: the consumer that must come first.

    `wants`: names of events, each alone or as `event:ChangeType`. `consume` is called outside a transaction, and may be
    called again with the same events, in another order, and with other events of the same content. It raises the errors
    of `integrations.clients.errors` for a retry.
    """

    name: str
    wants: frozenset[str]
    consume: Callable[[Batch], Outcome]
    after: str = ""


# Each newly stored event is given to the consumers that want it.
consumers: Registry[Consumer] = Registry()


def find_consumer(name: str) -> Consumer | None:
    """Return the consumer of this name; None for one of an older release."""
    return next((one for one in consumers if one.name == name), None)


# --- Queue ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeasedLane:
    """A lane that this worker holds."""

    lane_id: int
    corp_id: int
    consumer: Consumer
    token: str

    def hold(self, *, now: datetime) -> None:
        """Extend the lease; inside a transaction, no other worker can take the lane before its end.

        Raises LeaseLostError. An expired lease is not lost until another worker takes the lane.
        """
        if not EventLane.objects.held_by(self.lane_id, self.token).update(lease_until=now + LEASE):
            raise LeaseLostError

    def due_works(self, now: datetime) -> QuerySet[EventWork]:
        """Return due work in the lane, without events that another consumer must process first."""
        works = EventWork.objects.due(now).filter(corp=self.corp_id, consumer=self.consumer.name)
        if self.consumer.after:
            earlier = EventWork.objects.waiting().filter(event=OuterRef("event"), consumer=self.consumer.after)
            works = works.filter(~Exists(earlier))
        return works


def add_work(event: CallbackEvent) -> list[str]:
    """Create the work on a new event in the transaction that stores it. Return the consumers that may start now."""
    names_of_event = (event.event, f"{event.event}:{event.change}")
    wanted = [one for one in consumers if event.is_event and one.wants.intersection(names_of_event)]
    EventWork.objects.bulk_create(EventWork(event=event, corp_id=event.corp_id, consumer=one.name) for one in wanted)
    names = {one.name for one in wanted}
    return [one.name for one in wanted if one.after not in names]


def unheld_work(now: Moment) -> QuerySet[EventWork]:
    """Return due work in lanes that no worker holds."""
    held = EventLane.objects.filter(corp=OuterRef("corp"), consumer=OuterRef("consumer"), lease_until__gt=now)
    return EventWork.objects.due(now).filter(~Exists(held))


def due_lanes(*, now: datetime) -> list[tuple[int, str]]:
    """Return corp and consumer of every lane with due work that no worker holds. Queueing one twice does no harm."""
    lanes = unheld_work(now).order_by("corp", "consumer").values_list("corp", "consumer").distinct()
    return [(corp, name) for corp, name in lanes[:LANES_AT_ONCE] if find_consumer(name) is not None]


@transaction.atomic
def try_again(*, corp: Corp) -> tuple[int, list[str]]:
    """Let work that was given up be tried again. Return its number, and the consumers to queue."""
    keys = list(EventWork.objects.given_up().filter(corp=corp).values_list("pk", flat=True))
    works = EventWork.objects.filter(pk__in=keys, status=EventWork.Status.FAILED)
    names = sorted(set(works.values_list("consumer", flat=True)))
    count = works.update(status=EventWork.Status.WAITING, try_count=0, next_try_at=None, problem="")
    return count, names


def find_changed_keys(*, consumer: str, events: Sequence[CallbackEvent]) -> list[int]:
    """Return the keys that `consumer` recorded as changed for these events, each once, in order."""
    works = EventWork.objects.filter(event__in=[one.pk for one in events], consumer=consumer)
    return sorted({key for keys in works.values_list("touched", flat=True) for key in keys})


# --- Worker -----------------------------------------------------------------------------------------------------------


def work_through(*, corp_id: int, consumer: str, clock: Clock) -> list[tuple[int, str]]:
    """Process due work in one lane, in batches. Return the lanes to queue now: those that waited for this one, and
    this one if its time ended before its work. Does nothing if another worker has the lane.
    """
    found, now = find_consumer(consumer), clock()
    if found is None or not Corp.objects.filter(pk=corp_id).exists():
        return []
    row, _is_new = EventLane.objects.get_or_create(corp_id=corp_id, consumer=consumer)
    token = EventLane.objects.free(now).filter(pk=row.pk).claim(until=now + LEASE)
    if not token:
        return []
    lane, is_done, order = LeasedLane(row.pk, corp_id, found, token), True, ("event__happened_at", "event_id")
    try:
        while works := list(lane.due_works(clock()).select_related("event").order_by(*order)[:BATCH]):
            _consume(lane, works, clock)
            if clock() > now + TURN:
                is_done = False
                break
    except LeaseLostError:
        logger.warning("events corp=%s consumer=%s were taken over by another worker", corp_id, consumer)
        return []
    finally:
        EventLane.objects.held_by(lane.lane_id, lane.token).update(**LET_GO)
    following = [(corp_id, one.name) for one in consumers if one.after == consumer]
    # Check again, because work on a newer event could not start while the lane was held.
    if is_done and not lane.due_works(clock()).exists():
        return following
    return [*following, (corp_id, consumer)]


def _consume(lane: LeasedLane, works: Sequence[EventWork], clock: Clock) -> None:
    batch = Batch(
        corp=Corp.objects.get(pk=lane.corp_id),
        events=[one.event for one in works],
        clock=clock,
        hold=lambda: lane.hold(now=clock()),
        touch=partial(_note_touched, works[0]),
        tries={one.event_id: one.try_count for one in works},
    )
    facts = (lane.corp_id, lane.consumer.name, len(works))
    expected = (LeaseLostError, IntegrationError)
    try:
        with log_errors(logger, "events corp=%s consumer=%s count=%d", *facts, unless=expected) as consumed:
            outcome = lane.consumer.consume(batch)
    except IntegrationError as error:
        _delay_lane(lane, works, error, clock())
        return
    if consumed.error is None:
        settle(lane, works, outcome, now=clock())
        later = "" if outcome.again_after is None else " (once more later)"
        logger.info("events corp=%s consumer=%s count=%d touched=%d%s", *facts, len(outcome.touched), later)
    elif len(works) > 1:  # one by one, so that only the event with the error waits
        for work in works:
            _consume(lane, [work], clock)
    else:
        is_last = works[0].try_count + 1 >= TRIES_AT_MOST
        pause, problem = _choose_pause(works[0].try_count), type(consumed.error).__name__
        _postpone(lane, works, problem=problem, wait=pause, give_up=is_last, now=clock())


def _delay_lane(lane: LeasedLane, works: Sequence[EventWork], error: IntegrationError, now: datetime) -> None:
    """Let the whole lane wait, because the other side is unreachable or refuses us."""
    wait = _choose_pause(max(one.try_count for one in works))
    if isinstance(error, RateLimitedError):
        wait = max(wait, timedelta(seconds=error.retry_after_seconds))
    old = [one for one in works if one.event.received_at < now - TRIED_FOR]
    young = [one for one in works if one not in old]
    if old:
        logger.error("events corp=%s consumer=%s given up count=%d", lane.corp_id, lane.consumer.name, len(old))
        _postpone(lane, old, problem=str(error), wait=wait, give_up=True, now=now)
    if young:
        _postpone(lane, young, problem=str(error), wait=wait, give_up=False, now=now)
    lane.due_works(now).update(next_try_at=now + wait)  # the rest would meet the same obstacle


def _choose_pause(try_count: int) -> timedelta:
    return min(FIRST_WAIT * (1 << min(try_count, 10)), LONGEST_WAIT)


def _note_touched(work: EventWork, keys: Sequence[int]) -> None:
    """Add changed rows to a batch, whose first work is `work`, in the transaction that changes them."""
    work.touched = list(dict.fromkeys([*work.touched, *keys]))
    EventWork.objects.filter(pk=work.pk).update(touched=work.touched)


@transaction.atomic
def settle(lane: LeasedLane, works: Sequence[EventWork], outcome: Outcome, *, now: datetime) -> None:
    """Save the result of a batch. Raises LeaseLostError."""
    lane.hold(now=now)
    rows = EventWork.objects.filter(pk__in=[one.pk for one in works])
    if outcome.touched:
        _note_touched(works[0], outcome.touched)
    if outcome.again_after is not None:
        rows.update(next_try_at=now + outcome.again_after, try_count=F("try_count") + 1)
        return
    rows.update(status=EventWork.Status.DONE, done_at=now, next_try_at=None, problem="")
    EventLane.objects.filter(pk=lane.lane_id).update(worked_at=now)


@transaction.atomic
def _postpone(
    lane: LeasedLane, works: Sequence[EventWork], *, problem: str, wait: timedelta, give_up: bool, now: datetime
) -> None:
    """Save the next try of a batch, or its failure. Raises LeaseLostError."""
    lane.hold(now=now)
    for work in works:
        work.try_count, work.problem = work.try_count + 1, problem[:255]
        work.next_try_at = None if give_up else now + wait
        if give_up:
            work.status = EventWork.Status.FAILED
    EventWork.objects.bulk_update(works, ["try_count", "problem", "next_try_at", "status"])


# --- The addresses ----------------------------------------------------------------------------------------------------

# The largest events have a few KB: a message's text has at most 2048 bytes.
BODY_BYTES_AT_MOST = 256 * 1024
# Older events are deleted, and refused as well, or one could be replayed after its deletion.
EVENT_DAYS = 30
DELETED_AT_ONCE = 200
# The prefix of the echo text in our own checks of an address; WeCom sends a number.
OWN_CHECK = b"guanwecom-own-check-"
TOKEN_CHARACTERS = 32
AES_KEY_CHARACTERS = 43
_LETTERS = string.ascii_letters + string.digits
_VIEWS = {CallbackEvent.Kind.APP: "wecom-events", CallbackEvent.Kind.CONTACTS: "wecom-contacts-events"}
_REFUSALS_KEPT = timedelta(days=2)
_REFUSALS_IN_ALL = "integrations:callback-refusals"
# Instead of a corp's key: the caller named a company that does not exist.
NO_CORP = 0


@dataclass(frozen=True, slots=True)
class CallSignature:
    """The signature in the query of every call."""

    signature: str
    timestamp: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Address:
    """A callback address, for an administrator."""

    kind: CallbackEvent.Kind
    url: str
    has_keys: bool
    verified_at: datetime | None
    # The site address changed afterwards, so WeCom's console still has the former one.
    is_outdated: bool
    last_event_at: datetime | None
    refused_today: int


# --- Addresses, for the administrator ---------------------------------------------------------------------------------


def generate_callback_keys(*, corp: Corp, kind: CallbackEvent.Kind) -> None:
    """Give an address a new Token and EncodingAESKey. WeCom is refused until its console has them."""
    save_callback_keys(corp=corp, kind=kind, token=_draw_text(TOKEN_CHARACTERS), aes_key=_draw_text(AES_KEY_CHARACTERS))


def save_callback_keys(*, corp: Corp, kind: CallbackEvent.Kind, token: str, aes_key: str) -> None:
    """Save the pair from WeCom's console. Whether it is right shows when WeCom checks the address."""
    columns = CALLBACK_COLUMNS[kind]
    values = {columns.token: token, columns.aes_key: aes_key, columns.verified_at: None}
    Corp.objects.filter(pk=corp.pk).update(**values)
    corp.refresh_from_db(fields=list(values))


def have_keys(*, corp: Corp, kind: CallbackEvent.Kind) -> bool:
    """Return whether an address has keys, by their length, without decrypting them."""
    columns = CALLBACK_COLUMNS[kind]
    return all(Corp.objects.filter(pk=corp.pk).values_list(Length(columns.token), Length(columns.aes_key)).get())


def _draw_text(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def callback_url(corp: Corp, kind: CallbackEvent.Kind) -> str:
    """Return the URL for WeCom's console."""
    return corp.find_site_address().absolute(reverse(_VIEWS[kind], args=[corp.pk]))


def list_addresses(corp: Corp, *, now: datetime) -> list[Address]:
    """Return both addresses of a corp, the app's first. No key is decrypted."""
    found, changed_at = [], corp.find_site_address().changed_at
    for kind in CallbackEvent.Kind:
        newest = CallbackEvent.objects.filter(corp=corp, kind=kind).order_by("-received_at")
        verified_at: datetime | None = getattr(corp, CALLBACK_COLUMNS[kind].verified_at)
        found.append(
            Address(
                kind=kind,
                url=callback_url(corp, kind),
                has_keys=have_keys(corp=corp, kind=kind),
                verified_at=verified_at,
                is_outdated=verified_at is not None and verified_at < changed_at,
                last_event_at=newest.values_list("received_at", flat=True).first(),
                refused_today=refused_count(corp_id=corp.pk, kind=kind, now=now),
            )
        )
    return found


def build_own_check(crypto: CallbackCrypto, *, url: str, now: datetime) -> tuple[str, bytes]:
    """Build our own check of a callback address, in WeCom's form. Return the address to request and the right answer,
    which proves that the keys are there and the query arrived intact."""
    answer = OWN_CHECK + _draw_text(16).encode()
    timestamp, nonce = str(int(now.timestamp())), _draw_text(16)
    encrypted, signature = crypto.encrypt(answer, timestamp=timestamp, nonce=nonce)
    query = {"msg_signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": encrypted}
    return f"{url}?{urlencode(query)}", answer


# --- WeCom's calls ----------------------------------------------------------------------------------------------------


def verify_address(
    *, corp_id: int, kind: CallbackEvent.Kind, signed: CallSignature, echostr: str, now: datetime
) -> bytes:
    """Return the answer to WeCom's check, to be sent unchanged within a second. Raises CallbackError."""
    corp, crypto = _find_addressee(corp_id, kind)
    answer = crypto.decrypt(echostr, signature=signed.signature, timestamp=signed.timestamp, nonce=signed.nonce)
    if answer.startswith(OWN_CHECK):  # our own check, which says nothing about WeCom's console
        return answer
    Corp.objects.filter(pk=corp.pk).update(**{CALLBACK_COLUMNS[kind].verified_at: now})
    return answer


def receive(*, corp_id: int, kind: CallbackEvent.Kind, signed: CallSignature, body: bytes, now: datetime) -> list[str]:
    """Store a posted event with its work. Return the consumers that may start: none for a known or too old event.

    Raises CallbackError. WeCom waits 5 seconds and delivers at most three times, so this only stores the event.
    """
    corp, crypto = _find_addressee(corp_id, kind)
    callback, text, happened_at = _decrypt_event(corp, kind, crypto, signed, body)
    if happened_at < now - timedelta(days=EVENT_DAYS):
        logger.warning("callback too old corp=%s kind=%s event=%s", corp.pk, kind, callback.kind[:64])
        return []
    with transaction.atomic():
        event, is_new = CallbackEvent.objects.get_or_create(
            corp=corp,
            kind=kind,
            key=callback.dedupe_key,
            defaults={
                "event": callback.kind[:64],
                "is_event": callback.is_event,
                "change": callback.change[:64],
                "userid": callback.userid[:128],
                "happened_at": happened_at,
                "received_at": now,
                "body": text,
            },
        )
        beginning = add_work(event) if is_new else []
    if is_new:  # delete a few old events at a time, so that WeCom does not wait
        old = CallbackEvent.objects.filter(corp=corp, kind=kind, received_at__lt=now - timedelta(days=EVENT_DAYS))
        keys = list(old.order_by("received_at").values_list("pk", flat=True)[:DELETED_AT_ONCE])
        CallbackEvent.objects.filter(pk__in=keys).delete()
    return beginning


def _find_addressee(corp_id: int, kind: CallbackEvent.Kind) -> tuple[Corp, CallbackCrypto]:
    columns = CALLBACK_COLUMNS[kind]
    corp = Corp.objects.only("corpid", "agentid", columns.token, columns.aes_key).filter(pk=corp_id).first()
    if corp is None:
        raise CallbackError("there is no such corp")
    try:
        crypto = callback_crypto(corp, kind)
    except UnreadableSecretError:
        raise CallbackError("the address's keys cannot be read with the present encryption keys") from None
    if crypto is None:
        raise CallbackError("the address has no keys yet")
    return corp, crypto


def _decrypt_event(
    corp: Corp, kind: CallbackEvent.Kind, crypto: CallbackCrypto, signed: CallSignature, body: bytes
) -> tuple[wire.Callback, str, datetime]:
    """Decrypt an event of this corp. Return it, its text and its time. Raises CallbackError."""
    receiver, encrypted = wire.read_envelope(body)
    if receiver != corp.corpid:
        raise CallbackError("the envelope is for another company")
    plaintext = crypto.decrypt(encrypted, signature=signed.signature, timestamp=signed.timestamp, nonce=signed.nonce)
    callback = wire.parse(plaintext)
    if callback.corpid != corp.corpid:
        raise CallbackError("the event is of another company")
    # Two apps given the same keys by hand must not get each other's events.
    if kind == CallbackEvent.Kind.APP and callback.agentid not in {None, corp.agentid}:
        raise CallbackError("the event is of another app")
    try:
        return callback, plaintext.decode(), datetime.fromtimestamp(callback.created_at, UTC)
    except UnicodeDecodeError:
        raise CallbackError("the event is not UTF-8") from None
    except (ValueError, OverflowError, OSError):
        raise CallbackError("CreateTime is not a time") from None


# --- Refusals ---------------------------------------------------------------------------------------------------------


def note_refusal(*, corp_id: int, kind: CallbackEvent.Kind, reason: str, now: datetime) -> None:
    """Log and count a refused call. `reason`: of a CallbackError, without content of the call."""
    logger.warning("callback refused corp=%s kind=%s reason=%s", corp_id, kind, reason)
    if not Corp.objects.filter(pk=corp_id).exists():  # invented ids must not fill the store
        corp_id = NO_CORP
    key = _refusals_key(corp_id, kind, now)
    with suppress(redis.RedisError), valkey().pipeline() as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, _REFUSALS_KEPT)
        pipeline.hincrby(_REFUSALS_IN_ALL, f"{corp_id}:{kind.value}", 1)
        pipeline.execute()


def refused_count(*, corp_id: int, kind: CallbackEvent.Kind, now: datetime) -> int:
    """Count the calls refused on this day (UTC); 0 without Valkey. NO_CORP: those for unknown companies."""
    with suppress(redis.RedisError):
        return int(valkey().get(_refusals_key(corp_id, kind, now)) or 0)
    return 0


def refused_in_all() -> dict[tuple[int, str], int]:
    """Count all refused calls, by corp (NO_CORP: unknown) and address, for a metric. Empty without Valkey."""
    with suppress(redis.RedisError):
        counts: dict[bytes, bytes] = valkey().hgetall(_REFUSALS_IN_ALL)  # type: ignore[assignment]  # not awaited
        named = ((name.decode().split(":"), int(count)) for name, count in counts.items())
        return {(int(corp_id), kind): count for (corp_id, kind), count in named}
    return {}


def _refusals_key(corp_id: int, kind: CallbackEvent.Kind, now: datetime) -> str:
    return f"integrations:callback-refusals:{corp_id}:{kind.value}:{now.astimezone(UTC):%Y-%m-%d}"
