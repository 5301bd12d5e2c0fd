"""WeCom's callbacks: verification of addresses, storage of events, and the queue of their work.

Each corp has two addresses with separate keys: the app's, and the one of the contacts assistant (通讯录同步).
Both answer while the corp is disabled, because WeCom needs them before anything else is set up.

One job at a time processes the events of a company for a consumer. AppConfig.ready() registers the consumers
(`consumers.register`), so this module imports none. `store_event` stores an event and requests the job, whose function
is `process_events`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Length
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.translation import gettext_lazy

from integrations.clients.errors import IntegrationError, RateLimitedError, UnreadableSecretError
from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom import callbacks as wire
from integrations.clients.wecom.callbacks import CallbackCrypto, CallbackError
from integrations.core.background import log_errors
from integrations.core.client_factory import CALLBACK_COLUMNS, callback_crypto
from integrations.core.redis import valkey
from integrations.hooks import Registry
from integrations.jobs import requests
from integrations.jobs.registry import RunAgain, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import CallbackEvent, Corp
from integrations.models.jobs import LeaseLostError

logger = logging.getLogger(__name__)

# The kind of jobs that process events. A job's key: the company's primary key, a colon, and the consumer's name.
EVENTS = "wecom.events"
BATCH = 100
# After this time a job ends and starts again, so that other jobs get their turn.
TURN_SECONDS = 60
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=15)  # doubled after each try
# How long an event is tried while WeCom cannot be asked. By then the nightly run has copied the whole directory.
TRIED_FOR = timedelta(hours=36)
# How often an event that causes an error in this program is tried.
TRIES_AT_MOST = 8


class EventBatch:
    """Waiting events of one corp for one consumer, in order of time. `clock`: the database's. `touched`: keys of the
    rows changed by this batch, also by earlier tries of its events."""

    def __init__(self, run: JobRun, corp: Corp, events: Sequence[CallbackEvent]) -> None:
        self.corp, self.events, self.clock, self._run = corp, events, run.clock, run
        self.touched = sorted({key for one in events for key in one.touched})

    def lock_job(self) -> None:
        """Lock the job until the caller's transaction commits, so that no other worker takes the events. Call it in
        every transaction that writes. Raises LeaseLostError if another worker has the job."""
        self._run.lock_job()

    def touch(self, keys: Iterable[int]) -> None:
        """Record changed rows, in the transaction that changes them: a worker that dies later then loses no record."""
        self.touched = self.events[0].touched = sorted({*self.touched, *keys})
        CallbackEvent.objects.filter(pk=self.events[0].pk).update(touched=self.touched)


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer of events. `name` must not change: it is in the database.

    `wants`: names of events, each alone or as `event:ChangeType`. `consume` is called outside a transaction, and may be
    called again with the same events, in another order, and with other events of the same content. It returns None, or
    the time after which the batch must be repeated, and raises the errors of `integrations.clients.errors` for a retry.
    """

    name: str
    wants: frozenset[str]
    consume: Callable[[EventBatch], timedelta | None]


# Each newly stored event is given to the first consumer that wants it.
consumers: Registry[Consumer] = Registry()


# --- Queue ------------------------------------------------------------------------------------------------------------


def assign_event(event: CallbackEvent, *, now: datetime) -> None:
    """Give a new event to the consumer that wants it, in the transaction that stores it."""
    names = (event.event, f"{event.event}:{event.change}")
    consumer = next((one for one in consumers if event.is_event and one.wants.intersection(names)), None)
    if consumer is not None:
        event.consumer, event.status = consumer.name, CallbackEvent.Status.WAITING
        event.save(update_fields=["consumer", "status"])
        _request_job(event.corp, consumer.name, now)


def _request_job(corp: Corp, consumer: str, now: datetime) -> None:
    requests.request_job(EVENTS, key=f"{corp.pk}:{consumer}", corp=corp, now=now)


@transaction.atomic
def retry_failed_events(*, corp: Corp, now: datetime) -> int:
    """Try failed events again. Return their number."""
    keys = list(CallbackEvent.objects.given_up().filter(corp=corp).values_list("pk", flat=True))
    events = CallbackEvent.objects.filter(pk__in=keys, status=CallbackEvent.Status.FAILED)
    for name in sorted(set(events.values_list("consumer", flat=True))):
        _request_job(corp, name, now)
    return events.update(status=CallbackEvent.Status.WAITING, try_count=0, next_try_at=None, problem="")


# These limits only concern workers that die repeatedly. TRIED_FOR and TRIES_AT_MOST limit the tries of an event.
@job_kind(
    EVENTS,
    label=gettext_lazy("Events of WeCom"),
    explain=lambda _job: "",
    seconds=3600,
    tries=1000,
    repeats_errors=True,
)
def process_events(run: JobRun) -> dict[str, Any] | RunAgain:
    """Process the due events of one company for one consumer, in batches. The job runs again once others are due."""
    corp_id, _colon, name = str(run.job.key).partition(":")
    consumer = next((one for one in consumers if one.name == name), None)
    if consumer is None:  # of an older release
        return {}
    waiting = CallbackEvent.objects.waiting().filter(corp=int(corp_id), consumer=name)
    until = read_boot_clock() + TURN_SECONDS
    while events := list(waiting.due(run.clock()).order_by("happened_at", "pk")[:BATCH]):
        _consume_events(run, consumer, events)
        if read_boot_clock() > until:
            return RunAgain(run.clock())
    later = waiting.order_by("next_try_at").values_list("next_try_at", flat=True).first()
    return {} if later is None else RunAgain(later)


def _consume_events(run: JobRun, consumer: Consumer, events: Sequence[CallbackEvent]) -> None:
    batch = EventBatch(run, Corp.objects.get(pk=events[0].corp_id), events)
    facts = (batch.corp.pk, consumer.name, len(events))
    expected = (LeaseLostError, IntegrationError)
    try:
        with log_errors(logger, "events corp=%s consumer=%s count=%d", *facts, unless=expected) as consumed:
            again_after = consumer.consume(batch)
    except IntegrationError as error:
        # WeCom or the token store does not answer, or WeCom refuses the calls: all due events wait.
        now, pause = run.clock(), _choose_pause(max(one.try_count for one in events))
        if isinstance(error, RateLimitedError):
            pause = max(pause, timedelta(seconds=error.retry_after_seconds))
        old = [one for one in events if one.received_at < now - TRIED_FOR]
        if old:
            logger.error("events corp=%s consumer=%s given up count=%d", batch.corp.pk, consumer.name, len(old))
            _postpone(run, old, problem=str(error), wait=pause, give_up=True)
        if young := [one for one in events if one not in old]:
            _postpone(run, young, problem=str(error), wait=pause, give_up=False)
        CallbackEvent.objects.due(now).filter(corp=batch.corp, consumer=consumer.name).update(next_try_at=now + pause)
        return
    if consumed.error is None:
        settle_batch(run, events, again_after)
        later = "" if again_after is None else " (once more later)"
        logger.info("events corp=%s consumer=%s count=%d touched=%d%s", *facts, len(batch.touched), later)
    elif len(events) > 1:  # repeat them one by one, so that only the event with the error waits
        for event in events:
            _consume_events(run, consumer, [event])
    else:
        is_last = events[0].try_count + 1 >= TRIES_AT_MOST
        pause, problem = _choose_pause(events[0].try_count), type(consumed.error).__name__
        _postpone(run, events, problem=problem, wait=pause, give_up=is_last)


def _choose_pause(try_count: int) -> timedelta:
    return min(FIRST_WAIT * (1 << min(try_count, 10)), LONGEST_WAIT)


@transaction.atomic
def settle_batch(run: JobRun, events: Sequence[CallbackEvent], again_after: timedelta | None) -> None:
    """Save the result of a batch. Raises LeaseLostError."""
    rows = CallbackEvent.objects.filter(pk__in=[one.pk for one in events])
    if again_after is None:
        rows.update(status=CallbackEvent.Status.DONE, next_try_at=None, problem="")
    else:
        rows.update(next_try_at=run.clock() + again_after, try_count=F("try_count") + 1)
    run.lock_job()


@transaction.atomic
def _postpone(run: JobRun, events: Sequence[CallbackEvent], *, problem: str, wait: timedelta, give_up: bool) -> None:
    """Save the next try of a batch, or its failure. Raises LeaseLostError."""
    ended = {"status": CallbackEvent.Status.FAILED, "next_try_at": None}
    rows = CallbackEvent.objects.filter(pk__in=[one.pk for one in events])
    columns = ended if give_up else {"next_try_at": run.clock() + wait}
    rows.update(**columns, try_count=F("try_count") + 1, problem=problem[:255])
    run.lock_job()


# --- Callback addresses: limits and names -----------------------------------------------------------------------------

# The largest events have a few KB: a message's text has at most 2048 bytes.
BODY_BYTES_AT_MOST = 256 * 1024
# Older events are deleted, and not stored if they arrive, or one could be replayed after its deletion.
EVENT_DAYS = 30
DELETED_AT_ONCE = 200
# The prefix of the echo text in our own checks of an address; WeCom sends a number.
OWN_CHECK = b"guanwecom-own-check-"
TOKEN_CHARACTERS = 32
AES_KEY_CHARACTERS = 43
_VIEWS = {CallbackEvent.Kind.APP: "wecom-events", CallbackEvent.Kind.CONTACTS: "wecom-contacts-events"}
_REFUSALS_KEPT = timedelta(days=2)
_REFUSALS_IN_ALL = "integrations:callback-refusals"
# In place of a corp's key, if the caller named a company that does not exist.
NO_CORP = 0


# --- Addresses, for the administrator ---------------------------------------------------------------------------------


def generate_callback_keys(*, corp: Corp, kind: CallbackEvent.Kind) -> None:
    """Give an address a new Token and EncodingAESKey. WeCom's calls are refused until its console has them, too."""
    save_callback_keys(
        corp=corp, kind=kind, token=get_random_string(TOKEN_CHARACTERS), aes_key=get_random_string(AES_KEY_CHARACTERS)
    )


def save_callback_keys(*, corp: Corp, kind: CallbackEvent.Kind, token: str, aes_key: str) -> None:
    """Save the pair from WeCom's console. It is not verified until WeCom checks the address."""
    columns = CALLBACK_COLUMNS[kind]
    values = {columns.token: token, columns.aes_key: aes_key, columns.verified_at: None}
    Corp.objects.filter(pk=corp.pk).update(**values)
    corp.refresh_from_db(fields=list(values))


def has_callback_keys(*, corp: Corp, kind: CallbackEvent.Kind) -> bool:
    """Return whether an address has keys, by their length, without decrypting them."""
    columns = CALLBACK_COLUMNS[kind]
    return all(Corp.objects.filter(pk=corp.pk).values_list(Length(columns.token), Length(columns.aes_key)).get())


def build_callback_url(corp: Corp, kind: CallbackEvent.Kind) -> str:
    """Return the URL for WeCom's console."""
    return corp.find_site_address().absolute(reverse(_VIEWS[kind], args=[corp.pk]))


def describe_callback_address(corp: Corp, kind: CallbackEvent.Kind, *, now: datetime) -> dict[str, Any]:
    """Describe a callback address for an administrator, without decrypting a key. `is_outdated`: the site address
    changed after WeCom verified it, so WeCom's console still has the former one."""
    verified_at: datetime | None = getattr(corp, CALLBACK_COLUMNS[kind].verified_at)
    newest = CallbackEvent.objects.filter(corp=corp, kind=kind).order_by("-received_at")
    return {
        "kind": kind,
        "url": build_callback_url(corp, kind),
        "has_keys": has_callback_keys(corp=corp, kind=kind),
        "verified_at": verified_at,
        "is_outdated": verified_at is not None and verified_at < corp.find_site_address().changed_at,
        "last_event_at": newest.values_list("received_at", flat=True).first(),
        "refused_today": count_refusals(corp_id=corp.pk, kind=kind, now=now),
    }


# --- WeCom's calls ----------------------------------------------------------------------------------------------------


def verify_address(
    *, corp_id: int, kind: CallbackEvent.Kind, signed: Mapping[str, str], echostr: str, now: datetime
) -> bytes:
    """Return the answer to WeCom's check, to be sent unchanged within a second. `signed`: signature, timestamp and
    nonce of the query. Raises CallbackError."""
    corp, crypto = _find_addressee(corp_id, kind)
    answer = crypto.decrypt(echostr, **signed)
    if answer.startswith(OWN_CHECK):  # our own check, which says nothing about WeCom's console
        return answer
    Corp.objects.filter(pk=corp.pk).update(**{CALLBACK_COLUMNS[kind].verified_at: now})
    return answer


def store_event(
    *, corp_id: int, kind: CallbackEvent.Kind, signed: Mapping[str, str], body: bytes, now: datetime
) -> None:
    """Store a posted event and request its processing, unless it is known or too old.

    Raises CallbackError. WeCom waits 5 seconds and delivers at most three times, so this only stores the event.
    """
    corp, crypto = _find_addressee(corp_id, kind)
    receiver, encrypted = wire.read_envelope(body)
    if receiver != corp.corpid:
        raise CallbackError("the envelope is for another company")
    plaintext = crypto.decrypt(encrypted, **signed)
    callback = wire.parse_callback(plaintext)
    if callback.corpid != corp.corpid:
        raise CallbackError("the event is of another company")
    # Two apps given the same keys by hand must not get each other's events.
    if kind == CallbackEvent.Kind.APP and callback.agentid not in {None, corp.agentid}:
        raise CallbackError("the event is of another app")
    try:
        text, happened_at = plaintext.decode(), datetime.fromtimestamp(callback.created_at, UTC)
    except UnicodeDecodeError:
        raise CallbackError("the event is not UTF-8") from None
    except (ValueError, OverflowError, OSError):
        raise CallbackError("CreateTime is not a time") from None
    if happened_at < now - timedelta(days=EVENT_DAYS):
        logger.warning("callback too old corp=%s kind=%s event=%s", corp.pk, kind, callback.kind[:64])
        return
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
        if is_new:
            assign_event(event, now=now)
    if is_new:  # delete a few old events at a time, so that WeCom does not wait
        old = CallbackEvent.objects.filter(corp=corp, kind=kind, received_at__lt=now - timedelta(days=EVENT_DAYS))
        keys = list(old.order_by("received_at").values_list("pk", flat=True)[:DELETED_AT_ONCE])
        CallbackEvent.objects.filter(pk__in=keys).delete()


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


# --- Refusals ---------------------------------------------------------------------------------------------------------


def record_refusal(*, corp_id: int, kind: CallbackEvent.Kind, reason: str, now: datetime) -> None:
    """Log and count a refused call. `reason`: of a CallbackError, without content of the call."""
    logger.warning("callback refused corp=%s kind=%s reason=%s", corp_id, kind, reason)
    if not Corp.objects.filter(pk=corp_id).exists():  # invented ids must not fill the store
        corp_id = NO_CORP
    key = _make_refusals_key(corp_id, kind, now)
    with suppress(redis.RedisError), valkey().pipeline() as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, _REFUSALS_KEPT)
        pipeline.hincrby(_REFUSALS_IN_ALL, f"{corp_id}:{kind.value}", 1)
        pipeline.execute()


def count_refusals(*, corp_id: int, kind: CallbackEvent.Kind, now: datetime) -> int:
    """Count the calls refused on this day (UTC); 0 without Valkey. `corp_id`: NO_CORP for all unknown companies."""
    with suppress(redis.RedisError):
        return int(valkey().get(_make_refusals_key(corp_id, kind, now)) or 0)
    return 0


def count_all_refusals() -> dict[tuple[int, str], int]:
    """Count all refused calls by key of the corp (NO_CORP: unknown) and kind of address. Empty without Valkey."""
    with suppress(redis.RedisError):
        counts: dict[bytes, bytes] = valkey().hgetall(_REFUSALS_IN_ALL)  # type: ignore[assignment]  # not awaited
        named = ((name.decode().split(":"), int(count)) for name, count in counts.items())
        return {(int(corp_id), kind): count for (corp_id, kind), count in named}
    return {}


def _make_refusals_key(corp_id: int, kind: CallbackEvent.Kind, now: datetime) -> str:
    return f"integrations:callback-refusals:{corp_id}:{kind.value}:{now.astimezone(UTC):%Y-%m-%d}"
