"""Uploads what messages carry, pictures and files, then freezes their bytes.

A task has some uploads under way at once: threads make the calls (`Callers`), the task alone speaks to the database
and the cache, for many rows at a time. Retries are rows (`next_attempt_at`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from structlog.contextvars import bind_contextvars

from integrations.clients.clock import read_boot_clock
from integrations.clients.errors import IntegrationError
from integrations.clients.wecom.builders import MessageError
from integrations.clients.wecom.calls import Timeouts
from integrations.clients.wecom.client import MediaKind
from integrations.core import client_factory
from integrations.core.background import guarded
from notifications.delivery.channels.outcomes import ROBOT_GONE, Kind, Outcome, outcome_of_error
from notifications.delivery.channels.wecom_app import address_scope, company_scope
from notifications.delivery.leases import QUEUE_LEASE, STOP_SECONDS, TASK_SECONDS
from notifications.delivery.limiter import Permit, Request
from notifications.delivery.limiter.shared_gate import PERMIT_SECONDS
from notifications.delivery.locking import unlocked, update_unlocked
from notifications.delivery.sending import circuit_breaker, shared_uploads, throttling, upload_bodies, upload_rows
from notifications.delivery.sending.queue import HandedOut
from notifications.delivery.sending.send import SETTLE_SECONDS, Flights, callers
from notifications.delivery.sending.settle import backoff
from notifications.delivery.sending.shared_uploads import Uploaded
from notifications.delivery.sending.upload_rows import Prepared
from notifications.models import Channel, Delivery, Medium, MessageForm, Priority

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

# WeCom keeps what was uploaded for three days; what was not sent by then is uploaded anew.
UPLOADED_FOR = timedelta(days=3) - timedelta(hours=6)
HANDED_OUT_AT_ONCE = 500
# Of one task, side by side; fewer where they are large: so much of them is in memory, or one.
AT_ONCE = 20
BYTES_AT_ONCE = 32 * 2**20
UPLOAD_API = "media_upload"
# Then the same that another task uploads should be there.
SAME_UNDER_WAY = timedelta(seconds=1)
# Most uploads take less. Behind a slower one, or one whose worker died, the same is uploaded once more.
HOLDS_UP_OTHERS = timedelta(seconds=15)


def hand_out(*, now: datetime) -> HandedOut:
    """Deliveries whose picture or file is made; nobody else gets them for QUEUE_LEASE. Of a company that is held up
    one finds out, now and then, whether it works again."""
    ready = Delivery.objects.preparable(now).unqueued(now).order_by("priority", "next_attempt_at", "pk")
    found: dict[bool, list[int]] = {True: [], False: []}
    with transaction.atomic():
        rows = list(unlocked(ready.only("pk", "priority", "corp_id", "channel", "message_form"))[:HANDED_OUT_AT_ONCE])
        if not rows:
            return HandedOut()
        probes = circuit_breaker.probes({row.corp_id for row in rows if upload_bodies.is_uploaded(row)}, now=now)
        for row in rows:
            if upload_bodies.is_uploaded(row) and row.corp_id in probes:
                if not probes[row.corp_id]:
                    continue
                probes[row.corp_id] = False
            found[row.priority == Priority.URGENT].append(row.pk)
        Delivery.objects.filter(pk__in=[*found[True], *found[False]]).update(queued_until=now + QUEUE_LEASE)
    return HandedOut(found[True], found[False])


def renew(*, now: datetime) -> int:
    """Messages that were not sent while WeCom kept what was uploaded for them are prepared anew. None of them was
    tried in a way that may have reached anybody."""
    # Not those that a task has in its hands: it has read their bytes already.
    old = Delivery.objects.unqueued(now).filter(
        status=Delivery.Status.PENDING, media_until__lte=now, unclear_since__isnull=True, medium__isnull=False
    )
    return update_unlocked(old, status=Delivery.Status.PREPARING, media_until=None, queued_until=None)


def prepare_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Upload what each carries and freeze its bytes. Returns how many may be sent now.

    What was not begun in time is handed out again. A worker that ends waits at most STOP_SECONDS for uploads under way,
    whose deliveries are taken by another when their lease has ended.
    """
    task = _Task(list(delivery_ids), clock)
    end, stop_at = clock() + timedelta(seconds=TASK_SECONDS), None
    while True:
        if is_stopping():
            stop_at = stop_at or read_boot_clock() + STOP_SECONDS
        if stop_at is None and clock() < end:
            task.begin(may_go_on=lambda: clock() < end and not is_stopping())
        if not task.has_flying or (stop_at is not None and read_boot_clock() >= stop_at):
            break
        task.settle_ended()
    upload_rows.give_back_unbegun(task.waiting)
    return task.prepared_count


@dataclass(eq=False)
class _Upload:
    """One upload for all of a task's deliveries that carry the same. `key`: under which other tasks find it; empty
    where nobody else carries it. `used`: the media_id that they had before (shared_uploads.begin)."""

    held: list[Delivery]
    content: bytes
    name: str
    media_type: str
    key: str = ""
    used: str = ""
    permit: Permit = field(init=False)

    @property
    def first(self) -> Delivery:
        return self.held[0]


class _Task:
    def __init__(self, delivery_ids: list[int], clock: Clock) -> None:
        self.waiting = delivery_ids
        self.prepared_count = 0
        self._clock = clock
        self._sizes = upload_rows.sizes(delivery_ids)
        self._flights: Flights[_Upload, str] = Flights(callers())
        self._flying_bytes = 0

    @property
    def has_flying(self) -> bool:
        return bool(self._flights)

    def begin(self, *, may_go_on: Callable[[], bool]) -> None:
        """Claim as many as have room, begin their uploads, and freeze those that need none. Until there is no room,
        none is left, or `may_go_on`, asked after each chunk, says no: each may wait for the limiter."""
        # Half: claiming many rows at a time costs the database as much as claiming one.
        while self.waiting and (not self._flights or len(self._flights) * 2 <= AT_ONCE):
            chunk = self._next_chunk()
            if not chunk:
                return
            # What fails is tried again when its lease has ended.
            with guarded(logger, "%d deliveries could not be prepared", len(chunk)):
                self._begin(self._claimed(chunk))
            if not may_go_on():
                return

    def settle_ended(self) -> None:
        """Wait a moment for uploads under way, and write down what ended."""
        ended = self._flights.wait(len(self._flights), seconds=SETTLE_SECONDS)
        if not ended:
            return
        throttling.release([upload.permit for upload, _answer in ended])
        self._flying_bytes -= sum(len(upload.content) for upload, _answer in ended)
        now, prepared = self._clock(), []
        for upload, answer in ended:
            # One that fails is tried again when its lease has ended.
            with guarded(logger, "delivery=%d could not be prepared", upload.first.pk):
                prepared += _settled(upload, answer, now)
        works = {
            upload.first.corp_id for upload, answer in ended if isinstance(answer, str) and _is_wecom(upload.first)
        }
        if works:
            circuit_breaker.unblock(works, now=now)
        self.prepared_count += upload_rows.freeze(prepared, now)

    def _next_chunk(self) -> list[int]:
        chunk: list[int] = []
        room, bytes_left = AT_ONCE - len(self._flights), BYTES_AT_ONCE - self._flying_bytes
        while self.waiting and len(chunk) < room:
            bytes_left -= self._sizes.get(self.waiting[0], 0)
            if bytes_left < 0 and (chunk or self._flights):
                break
            chunk.append(self.waiting.pop(0))
        return chunk

    def _claimed(self, chunk: list[int]) -> list[Delivery]:
        """One by one where that fails."""
        with guarded(logger, "%d deliveries could not be claimed together", len(chunk)) as together:
            found = upload_rows.claim(chunk, self._clock())
        if together.error is None:
            return found
        found = []
        for pk in chunk:
            with guarded(logger, "delivery=%d could not be prepared", pk):
                found += upload_rows.claim([pk], self._clock())
        return found

    def _begin(self, held: list[Delivery]) -> None:
        made = [one for one in held if _is_made(one)]
        prepared = [Prepared(one, reason=one.medium.error if one.medium else "") for one in held if one not in made]
        contents = upload_rows.contents(made)
        to_upload = []
        for one in made:
            with guarded(logger, "delivery=%d could not be prepared", one.pk):
                content = contents[one.medium_id or 0]
                if not upload_bodies.is_uploaded(one):
                    complete = partial(upload_bodies.filled, held=one, content=content)
                    prepared.append(Prepared(one, complete, size=upload_bodies.size_in_body(one, content)))
                elif one.channel == Channel.ROBOT and one.robot is None:
                    prepared.append(_refused(one, ROBOT_GONE.message))
                else:
                    to_upload.append(_upload_of(one, content))
        uploads = [one for one in _together(to_upload) if not self._is_elsewhere(one, prepared)]
        self.prepared_count += upload_rows.freeze(prepared, self._clock())
        self._call(uploads)

    def _is_elsewhere(self, upload: _Upload, prepared: list[Prepared]) -> bool:
        """Whether another task has made it, which is used, or makes it just now."""
        if not upload.key:
            return False
        seconds = HOLDS_UP_OTHERS.total_seconds()
        pk, used = upload.first.pk, upload.used
        try:
            known = shared_uploads.begin(upload.key, delivery_id=pk, seconds_at_most=seconds, used=used)
        except shared_uploads.UnderWayError:
            _come_back(upload.held, self._clock())
            return True
        prepared += _filled_by(upload.held, known) if known else []
        return known is not None

    def _call(self, uploads: Sequence[_Upload]) -> None:
        answers = throttling.permits([_request(one.first) for one in uploads], call_seconds=Timeouts().transfer_seconds)
        for upload, answer in zip(uploads, answers, strict=True):
            if isinstance(answer, Permit):
                upload.permit = answer
                self._flying_bytes += len(upload.content)
                self._flights.begin(upload, partial(copy_context().run, _caller(upload)))
            else:
                _end(upload)
                for one in upload.held:
                    upload_rows.give_back(one, self._clock() + timedelta(seconds=answer))


# --- Steps ---


def _is_wecom(held: Delivery) -> bool:
    return held.channel == Channel.WECOM


def _is_made(held: Delivery) -> bool:
    return held.medium is not None and held.medium.status != Medium.Status.FAILED


def _upload_of(one: Delivery, content: bytes) -> _Upload:
    """For this one alone, with all that its call needs: a row of which that cannot be told asks for no permit."""
    upload = _Upload([one], content, upload_bodies.name_of(one), upload_bodies.media_type_of(one))
    if one.is_shared:  # type: ignore[attr-defined]  # annotated by `claim`
        upload.key = shared_uploads.key_of(one, content, upload.name)
        upload.used = upload_bodies.media_id_of(one)
    return upload


def _together(uploads: Sequence[_Upload]) -> list[_Upload]:
    """What is the same is uploaded once."""
    alone: list[_Upload] = []
    shared: dict[tuple[str, str], _Upload] = {}
    for each in uploads:
        if not each.key:
            alone.append(each)
        elif (known := shared.setdefault((each.key, each.used), each)) is not each:
            known.held += each.held
    return [*alone, *shared.values()]


def _request(held: Delivery) -> Request:
    return Request(
        id=f"upload:{held.pk}.{held.prepare_count}",
        scopes=(address_scope(held.corp, UPLOAD_API), company_scope(held.corpid, UPLOAD_API)),
        is_urgent=held.priority == Priority.URGENT,
    )


class _NoThreadError(Exception):
    """No thread was free in time."""


def _caller(upload: _Upload) -> Callable[[], str]:
    """The upload, ready to be made in a thread without a database. Returns the media_id; raises MessageError,
    IntegrationError, _NoThreadError."""
    held, content, permit = upload.first, upload.content, upload.permit
    name, media_type = upload.name, upload.media_type
    kind: MediaKind = "image" if held.message_form == MessageForm.IMAGE else "file"

    def call() -> str:
        bind_contextvars(run_id=held.run_id, delivery_id=held.pk)
        if permit.age_seconds > PERMIT_SECONDS:  # the limiter may have given its place away before it ended
            raise _NoThreadError
        if held.robot is not None:
            robot = client_factory.robot_client(held.corp, held.robot.key)
            return robot.webhook_upload_media(content, file_name=name, media_type=media_type)
        client = client_factory.wecom_client(held.corp)
        return client.media_upload(content, kind=kind, file_name=name, media_type=media_type)

    return call


def _settled(upload: _Upload, answer: str | BaseException, now: datetime) -> list[Prepared]:
    """What can be frozen by it; the rest is given back. Who carries the same as one that failed tries for itself."""
    found = Uploaded(answer, now + UPLOADED_FOR) if isinstance(answer, str) else None
    _end(upload, found)
    if found is not None:
        return _filled_by(upload.held, found)
    _come_back(upload.held[1:], now)
    match answer:
        case IntegrationError():
            return _failed(upload.first, answer, now)
        case MessageError():
            return [_refused(upload.first, str(answer))]
        case _NoThreadError():
            _come_back([upload.first], now)
        case BaseException():
            logger.error("delivery=%d: its upload failed", upload.first.pk, exc_info=answer)
    return []


def _end(upload: _Upload, found: Uploaded | None = None) -> None:
    if upload.key:
        shared_uploads.end(upload.key, found, delivery_id=upload.first.pk)


def _come_back(held: Iterable[Delivery], now: datetime) -> None:
    """Nothing was tried: many looks must not make the wait long after a failure."""
    for one in held:
        upload_rows.give_back(one, now + SAME_UNDER_WAY, prepare_count=one.prepare_count - 1)


def _failed(held: Delivery, error: IntegrationError, now: datetime) -> list[Prepared]:
    """Nothing was sent, whatever became of the upload: what may pass is tried again, later each time."""
    outcome = outcome_of_error(error)
    match outcome.kind:
        case Kind.REFUSED | Kind.RECIPIENTS:
            return [_refused(held, str(error))]
        case Kind.POSTPONED:
            _hold_up(held, outcome, now)
            upload_rows.give_back(held, now + timedelta(seconds=outcome.wait_seconds), outcome)
        case _:
            upload_rows.give_back(held, now + timedelta(seconds=backoff(held.prepare_count)), outcome)
    logger.info("delivery=%d not uploaded errcode=%s", held.pk, outcome.errcode)
    return []


def _hold_up(held: Delivery, outcome: Outcome, now: datetime) -> None:
    if not _is_wecom(held):
        return
    if outcome.is_configuration:
        circuit_breaker.block(held.corp_id, outcome, now=now)
    elif outcome.is_rate_limited:
        throttling.hold([company_scope(held.corpid, UPLOAD_API)], outcome)


def _refused(held: Delivery, reason: str) -> Prepared:
    """WeCom does not take the picture or file: the words go without it."""
    logger.warning("delivery=%d: its picture or file was refused", held.pk)
    return Prepared(held, reason=reason)


def _filled_by(held: Iterable[Delivery], found: Uploaded) -> list[Prepared]:
    return [Prepared(one, lambda body: upload_bodies.with_media_id(body, found.media_id), found.until) for one in held]
