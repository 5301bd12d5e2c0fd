"""Fetches the pictures and files behind a call's addresses, then makes its message: in a worker, never in the call."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from django.db import transaction
from django.db.models import F, QuerySet

from integrations.clients.errors import UnreadableSecretError
from integrations.clients.sources import Problem, SourceError
from integrations.clients.sources.addresses import Reach
from integrations.clients.sources.http_json import read_file
from integrations.core.sentences import NoData, Sentence
from integrations.datasources.query import reach_for
from integrations.models.fields import opened
from integrations.models.jobs import LeaseLostError
from notifications.delivery.locking import unlocked
from notifications.inbound import calls
from notifications.inbound.calls import CallRefusedError
from notifications.inbound.files import FILE_BYTES, CheckedFile, FileRefusedError, checked
from notifications.inbound.payloads import Payload
from notifications.inbound.uploads import MESSAGE_BYTES
from notifications.models import InboundCall, InboundChannel, InboundFetch
from notifications.models.lookups import Moment

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

# For one file, and for all of a message.
FILE_SECONDS = 20.0
TOTAL_SECONDS = 60.0
LEASE = timedelta(seconds=TOTAL_SECONDS + FILE_SECONDS + 30)
# From handing it to a task until it is handed to another.
QUEUED = timedelta(seconds=calls.FETCH_QUEUED_SECONDS)
QUEUED_AT_MOST = 100
# After these the message goes without its files.
TRIES_AT_MOST = 3
# After these it is given up.
GIVEN_UP_AFTER = 6


_GIVEN_UP = Sentence("“%(name)s” was not fetched: each worker that tried it ended before.")
_TOMORROW = Sentence("It waits for the next day: the channel has sent as much as it may today.")
_ENDED = Sentence("Meanwhile the channel was switched off, or its owner may no longer send messages.")


def due(now: Moment) -> list[QuerySet[InboundFetch]]:
    return [InboundFetch.objects.filter(lease_until__lte=now)]


def hand_out(*, now: datetime) -> list[int]:
    """Calls whose task got lost, or whose worker died; nobody else gets them for QUEUED."""
    with transaction.atomic():
        ids = [job.pk for job in unlocked(InboundFetch.objects.free(now).order_by("pk").only("pk"))[:QUEUED_AT_MOST]]
        InboundFetch.objects.filter(pk__in=ids).update(lease_token="", lease_until=now + QUEUED)
    return ids


def fetch(fetch_id: int, *, clock: Clock) -> list[int]:
    """Fetch what one call names, and accept its message. Returns the runs to hand out; none where another worker has
    it. What cannot be fetched is left out, and noted."""
    now = clock()
    token = (
        InboundFetch.objects.takeable(now).filter(pk=fetch_id).claim(until=now + LEASE, try_count=F("try_count") + 1)
    )
    job = InboundFetch.objects.held_by(fetch_id, token).first() if token else None
    if job is None:
        return []
    usable = InboundChannel.objects.usable().filter(pk=job.channel_id, is_enabled=True)
    channel = usable.select_related("owner", "corp").first()
    if channel is None:
        InboundFetch.objects.held_by(job.pk, job.lease_token).delete()
        calls.note(job.channel, InboundCall.Outcome.REFUSED, _ENDED, now=clock())
        return []
    try:
        return _made(job, channel, clock)
    except CallRefusedError as error:
        _refused(job, error, clock())
    except LeaseLostError:
        pass
    return []


def _made(job: InboundFetch, channel: InboundChannel, clock: Clock) -> list[int]:
    """Runs of its message. Raises CallRefusedError and LeaseLostError."""
    mapped = calls.mapped_of(channel, _payload_of(job), now=job.created_at)
    urls = () if mapped is None else mapped.urls
    room = MESSAGE_BYTES - sum(len(file.content) for file in mapped.files) if mapped is not None else 0
    reach = reach_for(allows_private_addresses=channel.allows_private_addresses)
    fetched: list[CheckedFile] = []
    if job.try_count > TRIES_AT_MOST:
        refused = [_GIVEN_UP % {"name": name or _parts_of(url)[0] or "file"} for name, url in urls]
    else:
        fetched, refused = _fetched(urls, room=room, reach=reach, clock=clock)
    with transaction.atomic():
        if not InboundFetch.objects.held_by(job.pk, job.lease_token).delete()[0]:
            raise LeaseLostError
        if mapped is None:  # the mapping was changed meanwhile
            calls.follow_up(job, outcome=InboundCall.Outcome.LEFT_OUT)
            return []
        incoming = calls.incoming_of(channel, mapped, key=job.key, fetched=fetched, left_out=refused)
        found = calls.accepted(incoming, now=clock())
        calls.follow_up(job, message=found.message, reason="")
    calls.note_left_out(channel, (*mapped.refused, *refused), now=clock())
    return found.run_ids


def _refused(job: InboundFetch, error: CallRefusedError, now: datetime) -> None:
    """Its sender was told that it is accepted: what is over the day's limit waits for the next, if it may."""
    held = InboundFetch.objects.held_by(job.pk, job.lease_token)
    then = now + timedelta(seconds=error.retry_after_seconds)
    if now < then <= job.created_at + timedelta(hours=job.channel.lifetime_hours):
        held.update(lease_token="", lease_until=then, try_count=0)
        calls.follow_up(job, reason=_TOMORROW.stored())
        return
    held.delete()
    calls.note(job.channel, InboundCall.Outcome.REFUSED, error.sentence, now=now)


def _payload_of(job: InboundFetch) -> Payload:
    """Raises CallRefusedError for one that is given up."""
    if job.try_count > GIVEN_UP_AFTER:
        raise CallRefusedError("internal_error", Sentence("Each worker that made its message ended before."))
    try:
        return json.loads(opened(job.payload))
    except UnreadableSecretError as error:
        sentence = Sentence("What was sent cannot be read with the present keys.")
        raise CallRefusedError("internal_error", sentence) from error


def _fetched(
    urls: tuple[tuple[str, str], ...], *, room: int, reach: Reach, clock: Clock
) -> tuple[list[CheckedFile], list[Sentence]]:
    """`room`: bytes that all of them may have together."""
    files, refused, end = [], [], clock() + timedelta(seconds=TOTAL_SECONDS)
    for name, url in urls:
        host, last = _parts_of(url)
        shown = name or host or "file"
        if clock() > end:
            refused.append(Sentence("“%(name)s” was not fetched: all of them took too long.") % {"name": shown})
            continue
        at_most = min(room, FILE_BYTES)
        try:
            file = checked(name or last, read_file(url, reach=reach, seconds=FILE_SECONDS, bytes_at_most=at_most))
        except SourceError as error:
            refused.append(_why(error, shown, is_full=at_most < FILE_BYTES))
        except FileRefusedError as error:
            refused.append(error.sentence % {"name": shown})
        else:
            room -= len(file.content)
            files.append(file)
    return files, refused


def _why(error: SourceError, name: str, *, is_full: bool) -> Sentence:
    """`is_full`: whether others have left it less than a file may have."""
    if error.problem != Problem.TOO_BIG:
        why = NoData(error.problem.value, error.facts)
        return Sentence("“%(name)s” was not fetched: %(reason)s") % {"name": name, "reason": why}
    if is_full:
        sentence = Sentence("“%(name)s” was not fetched: the files of a message may have 60 MB together.")
        return sentence % {"name": name}
    return Sentence("“%(name)s” is larger than 20 MB.") % {"name": name}


def _parts_of(url: str) -> tuple[str, str]:
    """Host, and the last part of its path: as path and query may hold a secret, only the host stands in a log."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", "file"
    return parts.hostname or "", unquote(parts.path).rpartition("/")[2] or "file"
