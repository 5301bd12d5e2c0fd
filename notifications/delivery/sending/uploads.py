"""Uploads pictures and files of messages, then freezes the messages' bytes.

Threads make several uploads of a task at once; only the task's own thread uses the database. A retry is a time in the
delivery's row (`next_attempt_at`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.utils import translation
from structlog.contextvars import bind_contextvars

from integrations.clients.errors import IntegrationError
from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom.builders import MediaKind, MessageError, build_robot_image, encode_body
from integrations.clients.wecom.calls import Timeouts
from integrations.core import client_factory
from integrations.core.background import Clock, log_errors
from integrations.models import Corp
from notifications.delivery.channels import (
    ROBOT_GONE,
    Outcome,
    OutcomeKind,
    make_address_scope,
    make_company_scope,
    make_error_outcome,
)
from notifications.delivery.limiter import PERMIT_SECONDS, Permit, Request
from notifications.delivery.rows import QUEUE_LEASE, STOP_SECONDS, TASK_SECONDS, lock_skipping, update_unlocked
from notifications.delivery.sending import send
from notifications.delivery.sending.queue import (
    CALL_COLUMNS,
    ReservedDeliveries,
    block_company,
    take_probes,
    unblock_companies,
)
from notifications.delivery.sending.settle import compute_backoff_seconds
from notifications.delivery.spreadsheets import write_file_name
from notifications.models import Channel, Delivery, Medium, MessageForm, Priority

logger = logging.getLogger(__name__)

HANDED_OUT_AT_ONCE = 500
# An upload takes less time. If two tasks have the same delivery nevertheless, the first freezes its bytes, and the
# second has uploaded in vain.
RESERVATION = 2 * QUEUE_LEASE
# Uploads of one task at once, and their bytes in memory at once. A single larger file is uploaded alone.
AT_ONCE = 20
BYTES_AT_ONCE = 32 * 2**20
UPLOAD_API = "media_upload"


class Upload(NamedTuple):
    """A medium to upload for a delivery, with the medium's bytes and file name."""

    delivery: Delivery
    medium: Medium
    content: bytes
    name: str


def hand_out_uploads(*, now: datetime) -> ReservedDeliveries:
    """Return the deliveries whose picture or file is made, each reserved for RESERVATION. For a blocked company only
    one delivery is returned now and then, to probe whether it works again."""
    ready = Delivery.objects.preparable(now).unqueued(now).order_by("priority", "next_attempt_at", "pk")
    urgent, ordinary = list[int](), list[int]()
    with transaction.atomic():
        columns = ("pk", "priority", "corp_id", "channel", "message_form")
        rows = list(lock_skipping(ready.only(*columns))[:HANDED_OUT_AT_ONCE])
        if not rows:
            return ReservedDeliveries()
        probes = take_probes({row.corp_id for row in rows if needs_upload(row)}, now=now)
        for row in rows:
            if needs_upload(row) and row.corp_id in probes:
                if not probes[row.corp_id]:
                    continue
                probes[row.corp_id] = False
            (urgent if row.priority == Priority.URGENT else ordinary).append(row.pk)
        Delivery.objects.filter(pk__in=[*urgent, *ordinary]).update(queued_until=now + RESERVATION)
    return ReservedDeliveries(urgent, ordinary)


def prepare_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Upload the medium of each delivery and freeze its bytes. Return how many may be sent now. A stopping worker gives
    the rest back; another one repeats uploads under way when their reservation ends."""
    waiting, sendable_count = list(delivery_ids), 0
    carrying = Delivery.objects.filter(pk__in=waiting, medium__isnull=False).order_by()
    sizes: dict[int, int] = dict(carrying.values_list("pk", Length("medium__content")))
    give_back_at = clock() + timedelta(seconds=TASK_SECONDS)
    while waiting and not is_stopping() and clock() < give_back_at:
        chunk = [waiting.pop(0)]
        bytes_left = BYTES_AT_ONCE - sizes.get(chunk[0], 0)
        while waiting and len(chunk) < AT_ONCE and (bytes_left := bytes_left - sizes.get(waiting[0], 0)) >= 0:
            chunk.append(waiting.pop(0))
        with log_errors(logger, "%d deliveries could not be prepared together", len(chunk)) as together:
            sendable_count += _prepare_together(chunk, clock, is_stopping)
        for pk in chunk if together.error is not None else ():
            with log_errors(logger, "delivery=%d could not be prepared", pk):
                sendable_count += _prepare_together([pk], clock, is_stopping)
    update_unlocked(_find_preparing(waiting).filter(queued_until__isnull=False), queued_until=None)
    return sendable_count


def _prepare_together(delivery_ids: list[int], clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Upload the media of these deliveries at once, and freeze each as its upload ends. A stopping worker waits at most
    STOP_SECONDS. Return how many may be sent now."""
    sendable_count, to_upload = 0, list[Upload]()
    rows = Delivery.objects.preparable(clock()).filter(pk__in=delivery_ids).order_by("pk")
    deliveries = list(rows.select_related("robot", "medium").only(*_PREPARE_COLUMNS))  # without the contents of media
    corps = Corp.objects.only(*CALL_COLUMNS).in_bulk({one.corp_id for one in deliveries})
    media = Medium.objects.filter(pk__in=[one.medium_id for one in deliveries if one.medium_id])
    contents = {pk: bytes(content) for pk, content in media.values_list("pk", "content")}
    for one in deliveries:
        one.corp = corps[one.corp_id]
        with log_errors(logger, "delivery=%d could not be prepared", one.pk):
            if one.medium is None or one.medium.status == Medium.Status.FAILED:
                reason = one.medium.error if one.medium else ""
                sendable_count += freeze_delivery(one, None, clock(), reason=reason)
                continue
            content = contents[one.medium.pk]
            with translation.override(one.language):
                name = one.medium.name or write_file_name(one.title, one.created_at, one.medium.extension)
            if not needs_upload(one):
                complete = partial(_put_medium_into_body, delivery=one, content=content, name=name)
                sendable_count += freeze_delivery(one, complete, clock())
            elif one.channel == Channel.ROBOT and one.robot is None:
                sendable_count += freeze_delivery(one, None, clock(), reason=ROBOT_GONE.message)
            else:
                to_upload.append(Upload(one, one.medium, content, name))
    calls, end_at = _begin_uploads(to_upload, clock), math.inf
    while calls:
        if is_stopping():
            end_at = min(end_at, read_boot_clock() + STOP_SECONDS)
            if read_boot_clock() >= end_at:
                break
        ended = send.take_ended(calls, seconds=send.SETTLE_SECONDS)
        send.release_permits([permit for (_delivery, permit), _answer in ended])
        now = clock()
        for (delivery, _permit), answer in ended:
            with log_errors(logger, "delivery=%d could not be prepared", delivery.pk):
                sendable_count += _settle_upload(delivery, answer, now)
        uploaded = [delivery for (delivery, _permit), answer in ended if isinstance(answer, str) and answer]
        if answering_corps := {delivery.corp_id for delivery in uploaded if delivery.channel == Channel.WECOM}:
            unblock_companies(answering_corps, now=now)
    return sendable_count


def _begin_uploads(uploads: Sequence[Upload], clock: Clock) -> dict[Future[str], tuple[Delivery, Permit]]:
    """Begin the uploads that the limiter admits; give the other deliveries back."""
    requests = [
        Request(
            id=f"upload:{one.pk}.{secrets.token_hex(4)}",
            scopes=(make_address_scope(one.corp, UPLOAD_API), make_company_scope(one.corpid, UPLOAD_API)),
            is_urgent=one.priority == Priority.URGENT,
        )
        for one in (upload.delivery for upload in uploads)
    ]
    calls: dict[Future[str], tuple[Delivery, Permit]] = {}
    answers = send.ask_permits(requests, call_seconds=Timeouts().transfer_seconds) if requests else []
    for upload, permit in zip(uploads, answers, strict=True):
        if isinstance(permit, Permit):
            call = partial(copy_context().run, _upload_medium, upload, permit)
            calls[send.get_call_threads().submit(call)] = upload.delivery, permit
        else:
            give_delivery_back(upload.delivery, clock() + timedelta(seconds=permit))
    return calls


def _upload_medium(upload: Upload, permit: Permit) -> str:
    """Return the media_id, or an empty string if no thread was free in time. Uses no database. Raises MessageError and
    IntegrationError."""
    delivery, medium, content, name = upload
    bind_contextvars(run_id=delivery.run_id, delivery_id=delivery.pk)
    if permit.age_seconds > PERMIT_SECONDS:  # the limiter may have given the permit's place to another call
        return ""
    if delivery.robot is not None:
        robot = client_factory.robot_client(delivery.corp, delivery.robot.key)
        return robot.webhook_upload_media(content, file_name=name, media_type=medium.media_type)
    client = client_factory.wecom_client(delivery.corp)
    kind: MediaKind = "image" if delivery.message_form == MessageForm.IMAGE else "file"
    return client.media_upload(content, kind=kind, file_name=name, media_type=medium.media_type)


def _settle_upload(delivery: Delivery, answer: str | BaseException, now: datetime) -> bool:
    """Freeze the delivery if its upload succeeded, or without its picture or file if the upload was refused. Otherwise
    give it back, or after an unforeseen error let its reservation end. Return whether it may be sent now."""
    match answer:
        case "":
            give_delivery_back(delivery, now)
        case str():
            return freeze_delivery(delivery, partial(_put_medium_into_body, delivery=delivery, media_id=answer), now)
        case MessageError():
            return freeze_delivery(delivery, None, now, reason=str(answer))
        case IntegrationError():
            outcome = make_error_outcome(answer)
            if outcome.kind in {OutcomeKind.REFUSED, OutcomeKind.RECIPIENTS}:
                return freeze_delivery(delivery, None, now, reason=str(answer))
            wait_seconds = compute_backoff_seconds(delivery.prepare_count + 1)
            if outcome.kind == OutcomeKind.POSTPONED:
                wait_seconds = outcome.wait_seconds
                if delivery.channel == Channel.WECOM and outcome.is_configuration:
                    block_company(delivery.corp_id, outcome, now=now)
                elif delivery.channel == Channel.WECOM:
                    send.hold_scopes([make_company_scope(delivery.corpid, UPLOAD_API)], outcome)
            give_delivery_back(delivery, now + timedelta(seconds=wait_seconds), outcome)
            logger.info("delivery=%d not uploaded errcode=%s", delivery.pk, outcome.errcode)
        case BaseException():
            logger.error("delivery=%d: its upload failed", delivery.pk, exc_info=answer)
    return False


# --- How a body refers to its medium: by the media_id of an upload, by our own id, or by containing it ---


def needs_upload(delivery: Delivery) -> bool:
    """Return whether the delivery's medium must be uploaded to WeCom."""
    is_file = delivery.message_form in {MessageForm.XLSX, MessageForm.CSV, MessageForm.FILE}
    if delivery.channel == Channel.ROBOT:
        return is_file
    return delivery.channel == Channel.WECOM and (is_file or delivery.message_form == MessageForm.IMAGE)


def _put_medium_into_body(
    body: dict[str, Any], *, delivery: Delivery, media_id: str = "", content: bytes = b"", name: str = ""
) -> dict[str, Any]:
    """Return the body with its medium: the `media_id` of the upload, if there was one; in a robot's picture message the
    `content`; in a mail our id, which sending replaces. News and cards contain the address of their picture already."""
    if media_id:
        return body | {body["msgtype"]: {**body[body["msgtype"]], "media_id": media_id}}
    if delivery.channel == Channel.ROBOT:
        return build_robot_image(content) if delivery.message_form == MessageForm.IMAGE else body
    if delivery.channel == Channel.EMAIL:
        digest = hashlib.sha256(content).hexdigest()
        return body | {"medium": {"id": delivery.medium_id, "name": name, "digest": digest}}
    return body


# --- Rows: read together, and frozen one by one ---

# The columns that preparing needs.
_PREPARE_COLUMNS = (
    *("run", "corp", "channel", "message_form", "priority", "created_at", "title", "corpid", "agentid", "language"),
    *("prepare_count", "robot__key", "medium__kind", "medium__name", "medium__content_type", "medium__status"),
    "medium__error",
)


@transaction.atomic
def freeze_delivery(
    delivery: Delivery, complete: Callable[[dict[str, Any]], dict[str, Any]] | None, now: datetime, *, reason: str = ""
) -> bool:
    """Freeze the row's present body, unless another task has frozen it: recipients may have been withdrawn since
    `delivery` was read. Return whether the delivery may be sent now.

    `complete`: returns the final body from the row's body, and may raise MessageError. If it is None, the message goes
    out without its picture or file, because of `reason`.
    """
    preparing = _find_preparing([delivery.pk])
    row = preparing.select_for_update(of=("self",)).only("body", "plain_body", "channel", "error").first()
    if row is None:
        return False
    body = bytes(row.plain_body)
    if complete is not None:
        try:
            final = complete(json.loads(bytes(row.body)))
            is_mail = row.channel == Channel.EMAIL
            body = json.dumps(final, ensure_ascii=False).encode() if is_mail else encode_body(final)
            reason = row.error  # of an earlier try, if any: it is kept until the delivery is settled
        except MessageError as error:
            complete, reason = None, str(error)
    if complete is None:
        logger.warning("delivery=%d goes without its picture or file", row.pk)
    if body:
        frozen = {"status": Delivery.Status.PENDING, "next_attempt_at": now, "body": body, "plain_body": b""}
        preparing.update(prepare_count=0, queued_until=None, error=reason, **frozen)
    else:  # it is being prepared a second time, and its plain body was erased the first time
        preparing.update(status=Delivery.Status.FAILED, settled_at=now, error=reason)
    return bool(body)


def give_delivery_back(delivery: Delivery, at: datetime, outcome: Outcome | None = None) -> None:
    """Release the delivery, to be tried again at `at`. `outcome`: of the upload, if one was tried."""
    fields: dict[str, Any] = {"next_attempt_at": at, "queued_until": None}
    if outcome is not None:
        fields |= {"errcode": outcome.errcode, "error": outcome.message, "prepare_count": delivery.prepare_count + 1}
    _find_preparing([delivery.pk]).update(**fields)


def _find_preparing(ids: Collection[int]) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk__in=list(ids), status=Delivery.Status.PREPARING)
