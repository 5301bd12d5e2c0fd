"""Uploads a delivery's picture or file, then freezes its bytes.

A delivery is taken under a lease with a fencing token, as for sending; the lease ends by itself, since uploading twice
harms nobody: only who still holds the token freezes the bytes, once. Retries are rows (`next_attempt_at`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import translation
from structlog.contextvars import bound_contextvars

from integrations.clients.errors import IntegrationError
from integrations.clients.wecom.api.media import MediaKind
from integrations.clients.wecom.messages.limits import MessageError, body_bytes
from integrations.clients.wecom.messages.robots import robot_image
from integrations.clients.wecom.transport import Timeouts
from integrations.core import client_factory
from integrations.core.background import guarded
from notifications.delivery.attachments.spreadsheets import file_name
from notifications.delivery.channels.outcomes import ROBOT_GONE, Kind, Outcome, outcome_of_error
from notifications.delivery.channels.wecom_app import address_scope, company_scope
from notifications.delivery.leases import QUEUE_LEASE, TASK_SECONDS
from notifications.delivery.limiter import Permit, Request
from notifications.delivery.locking import unlocked, update_unlocked
from notifications.delivery.sending import circuit_breaker, shared_uploads, throttling
from notifications.delivery.sending.queue import HandedOut
from notifications.delivery.sending.settle import backoff
from notifications.delivery.sending.shared_uploads import Uploaded
from notifications.models import Channel, Delivery, Medium, MessageForm, Priority

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

# Longer than the longest upload (integrations.clients.wecom.transport.Timeouts.transfer_seconds).
LEASE = timedelta(seconds=120)
# WeCom keeps what was uploaded for three days; what was not sent by then is uploaded anew.
UPLOADED_FOR = timedelta(days=3) - timedelta(hours=6)
HANDED_OUT_AT_ONCE = 500
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
        probes = circuit_breaker.probes({row.corp_id for row in rows if _is_uploaded(row)}, now=now)
        for row in rows:
            if _is_uploaded(row) and row.corp_id in probes:
                if not probes[row.corp_id]:
                    continue
                probes[row.corp_id] = False
            found[row.priority == Priority.URGENT].append(row.pk)
        Delivery.objects.filter(pk__in=[*found[True], *found[False]]).update(queued_until=now + QUEUE_LEASE)
    return HandedOut(found[True], found[False])


def prepare_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Prepare each. Returns how many may be sent now. What was not begun in time is handed out again."""
    waiting, count, end = list(delivery_ids), 0, clock() + timedelta(seconds=TASK_SECONDS)
    while waiting and not is_stopping() and clock() < end:
        pk = waiting.pop(0)
        # One that fails is tried again when its lease has ended.
        with guarded(logger, "delivery=%d could not be prepared", pk):
            count += prepare_delivery(pk, clock=clock)
    if waiting:
        update_unlocked(_preparing(waiting).filter(queued_until__isnull=False), queued_until=None)
    return count


def prepare_delivery(delivery_id: int, *, clock: Clock) -> bool:
    """Upload what the delivery carries and freeze its bytes. Returns whether it may be sent now."""
    held = _claim(delivery_id, clock())
    if held is None:
        return False
    with bound_contextvars(run_id=held.run_id, delivery_id=held.pk):
        return _prepared(held, clock)


def _prepared(held: Delivery, clock: Clock) -> bool:
    medium = held.medium
    if medium is None or medium.status == Medium.Status.FAILED:
        return _freeze_plain(held, medium.error if medium else "", clock())
    if not _is_uploaded(held):
        return _freeze(held, lambda body: _filled(body, held, medium), None, clock())
    return _upload(held, medium, clock)


def renew(*, now: datetime) -> int:
    """Messages that were not sent while WeCom kept what was uploaded for them are prepared anew. None of them was
    tried in a way that may have reached anybody."""
    # Not those that a task has in its hands: it has read their bytes already.
    old = Delivery.objects.unqueued(now).filter(
        status=Delivery.Status.PENDING, media_until__lte=now, unclear_since__isnull=True, medium__isnull=False
    )
    return update_unlocked(old, status=Delivery.Status.PREPARING, media_until=None, queued_until=None)


# --- Steps ---


def _claim(delivery_id: int, now: datetime) -> Delivery | None:
    """The delivery with its company and medium, ours until the lease ends."""
    token = uuid.uuid4()
    mine = Delivery.objects.preparable(now).filter(pk=delivery_id)
    with transaction.atomic():
        ids = [row.pk for row in unlocked(mine.only("pk"))]
        if not ids:
            return None
        Delivery.objects.filter(pk__in=ids).update(
            fencing_token=token, lease_until=now + LEASE, prepare_count=F("prepare_count") + 1
        )
        # Inside: the token of a worker that takes it over later is not ours.
        rows = Delivery.objects.select_related("corp", "robot", "medium").defer("medium__svg", "medium__recipe")
        return rows.get(pk=delivery_id)


def _upload(held: Delivery, medium: Medium, clock: Clock) -> bool:
    if held.channel == Channel.ROBOT and held.robot is None:
        return _refused(held, ROBOT_GONE.message, clock())
    key = shared_uploads.key_of(held, medium, _name(held, medium))
    used = _media_id_of(json.loads(bytes(held.body)))
    try:
        found = shared_uploads.once(
            key,
            lambda: _uploaded(held, medium, clock),
            delivery_id=held.pk,
            seconds_at_most=HOLDS_UP_OTHERS.total_seconds(),
            used=used,
        )
    except shared_uploads.UnderWayError:
        # Nothing was tried: many looks must not make the wait long after a failure.
        _give_back(held, clock() + SAME_UNDER_WAY, prepare_count=held.prepare_count - 1)
        return False
    except _NoPermitError as error:
        _give_back(held, clock() + timedelta(seconds=error.wait_seconds))
        return False
    except MessageError as error:
        return _refused(held, str(error), clock())
    except IntegrationError as error:
        return _failed(held, error, clock())
    return _freeze(held, lambda body: _with_media_id(body, found.media_id), found.until, clock())


class _NoPermitError(Exception):
    """The limits leave no room before so many seconds."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


def _uploaded(held: Delivery, medium: Medium, clock: Clock) -> Uploaded:
    """Raises _NoPermitError, MessageError, IntegrationError."""
    request = Request(
        id=f"upload:{held.pk}.{held.prepare_count}",
        scopes=(address_scope(held.corp, UPLOAD_API), company_scope(held.corpid, UPLOAD_API)),
        is_urgent=held.priority == Priority.URGENT,
    )
    permit = throttling.permit(request, call_seconds=Timeouts().transfer_seconds)
    if not isinstance(permit, Permit):
        raise _NoPermitError(permit)
    try:
        media_id = _media_id(held, medium)
    finally:
        throttling.release([permit])
    if held.channel == Channel.WECOM:
        circuit_breaker.unblock([held.corp_id], now=clock())
    return Uploaded(media_id, clock() + UPLOADED_FOR)


def _media_id(held: Delivery, medium: Medium) -> str:
    name, content = _name(held, medium), bytes(medium.content)
    kind: MediaKind = "image" if held.message_form == MessageForm.IMAGE else "file"
    media_type = medium.content_type or _MEDIA_TYPES[MessageForm(held.message_form)]
    if held.robot is not None:
        robot = client_factory.robot_client(held.corp, held.robot.key)
        return robot.webhook_upload_media(content, kind="file", file_name=name, media_type=media_type).media_id
    client = client_factory.wecom_client(held.corp)
    return client.media_upload(content, kind=kind, file_name=name, media_type=media_type).media_id


def _failed(held: Delivery, error: IntegrationError, now: datetime) -> bool:
    """Nothing was sent, whatever became of the upload: what may pass is tried again, later each time."""
    outcome = outcome_of_error(error)
    match outcome.kind:
        case Kind.REFUSED | Kind.RECIPIENTS:
            return _refused(held, str(error), now)
        case Kind.POSTPONED:
            _hold_up(held, outcome, now)
            _give_back(held, now + timedelta(seconds=outcome.wait_seconds), outcome)
        case _:
            _give_back(held, now + timedelta(seconds=backoff(held.prepare_count)), outcome)
    logger.info("delivery=%d not uploaded errcode=%s", held.pk, outcome.errcode)
    return False


def _hold_up(held: Delivery, outcome: Outcome, now: datetime) -> None:
    if held.channel != Channel.WECOM:
        return
    if outcome.is_configuration:
        circuit_breaker.block(held.corp_id, outcome, now=now)
    elif outcome.is_rate_limited:
        throttling.hold([company_scope(held.corpid, UPLOAD_API)], outcome)


def _refused(held: Delivery, reason: str, now: datetime) -> bool:
    """WeCom does not take the picture or file: the words go without it."""
    logger.warning("delivery=%d: its picture or file was refused", held.pk)
    return _freeze_plain(held, reason, now)


def _freeze(
    held: Delivery, completed: Callable[[dict[str, Any]], dict[str, Any]], until: datetime | None, now: datetime
) -> bool:
    """The final bytes, from what the row holds now: people may have been taken out of it meanwhile."""
    with transaction.atomic():
        mine = _held(held).select_for_update(of=("self",)).only("body", "channel").first()
        if mine is None:
            return False
        try:
            body = completed(json.loads(bytes(mine.body)))
        except MessageError as error:
            reason = str(error)
        else:
            _write(held, now, body=_bytes(mine, body), media_until=until)
            return True
    return _refused(held, reason, now)


def _freeze_plain(held: Delivery, reason: str, now: datetime) -> bool:
    with transaction.atomic():
        mine = _held(held).select_for_update(of=("self",)).only("plain_body").first()
        if mine is None:
            return False
        if mine.plain_body:
            _write(held, now, body=bytes(mine.plain_body), error=reason)
            return True
        # Prepared anew, its plain body is gone.
        _held(held).update(status=Delivery.Status.FAILED, settled_at=now, error=reason, **_FREE)
    return False


def _write(held: Delivery, now: datetime, **fields: Any) -> None:
    _held(held).update(
        status=Delivery.Status.PENDING, next_attempt_at=now, plain_body=b"", prepare_count=0, **fields, **_FREE
    )


def _give_back(held: Delivery, at: datetime, outcome: Outcome | None = None, **fields: Any) -> None:
    said = {"errcode": outcome.errcode, "error": outcome.message} if outcome else {}
    _held(held).update(next_attempt_at=at, **said, **fields, **_FREE)


_FREE = {"fencing_token": None, "lease_until": None, "queued_until": None}


def _held(held: Delivery) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk=held.pk, status=Delivery.Status.PREPARING, fencing_token=held.fencing_token)


def _preparing(ids: Iterable[int]) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk__in=list(ids), status=Delivery.Status.PREPARING)


# --- What goes where ---

_UPLOADED = {
    Channel.WECOM: frozenset({MessageForm.IMAGE, MessageForm.XLSX, MessageForm.CSV, MessageForm.FILE}),
    Channel.ROBOT: frozenset({MessageForm.XLSX, MessageForm.CSV, MessageForm.FILE}),
}
_MEDIA_TYPES = {
    MessageForm.IMAGE: "image/png",
    MessageForm.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    MessageForm.CSV: "text/csv",
}
_EXTENSIONS = {MessageForm.XLSX: "xlsx", MessageForm.CSV: "csv"}


def _is_uploaded(delivery: Delivery) -> bool:
    return delivery.message_form in _UPLOADED.get(Channel(delivery.channel), ())


def _name(delivery: Delivery, medium: Medium) -> str:
    """As it came, or in the message's language by its title."""
    with translation.override(delivery.language):
        extension = _EXTENSIONS.get(MessageForm(delivery.message_form), "png")
        return medium.name or file_name(delivery.title, delivery.created_at, extension)


def _media_id_of(body: dict[str, Any]) -> str:
    """Empty before its first upload."""
    return str(body[body["msgtype"]].get("media_id", ""))


def _with_media_id(body: dict[str, Any], media_id: str) -> dict[str, Any]:
    return body | {body["msgtype"]: {**body[body["msgtype"]], "media_id": media_id}}


def _filled(body: dict[str, Any], held: Delivery, medium: Medium) -> dict[str, Any]:
    """A robot's picture stands in the message itself; news and cards have its address already."""
    if held.channel == Channel.ROBOT and held.message_form == MessageForm.IMAGE:
        return robot_image(bytes(medium.content))
    if held.channel == Channel.EMAIL:
        return body | {"medium": {"id": medium.pk, "name": _name(held, medium), "digest": _sha(medium)}}
    return body


def _sha(medium: Medium) -> str:
    return hashlib.sha256(bytes(medium.content)).hexdigest()


def _bytes(delivery: Delivery, body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode() if delivery.channel == Channel.EMAIL else body_bytes(body)
