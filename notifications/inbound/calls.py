"""Takes a call of an inbound channel: keeps its payload for an hour and makes a message or incidents of it.

Payloads and secrets are never logged. Pictures and files behind addresses are not fetched during the call: it is
answered, and a worker fetches them and makes the message.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from integrations.clients.errors import UnreadableSecretError
from integrations.clients.sources.http_json import fetch_file
from integrations.core.metrics import CountedMetric
from integrations.core.sentences import NoData, Sentence
from integrations.data import Problem, SourceError
from integrations.datasources.query import find_allowed_network
from integrations.jobs import requests
from integrations.jobs.registry import RunAgain
from integrations.jobs.runner import JobRun
from integrations.models import Job
from integrations.models.fields import require_readable
from integrations.models.jobs import Moment
from notifications.alerts import incidents, notify
from notifications.inbound.accept import MESSAGE_BYTES, IncomingDraft, accept_message, check_limit
from notifications.inbound.content import FILE_BYTES, CheckedFile, InboundError, check_file
from notifications.inbound.mapping import MappedMessage, map_payload
from notifications.inbound.payloads import Payload, read_alerts
from notifications.models import (
    InboundCall,
    InboundChannel,
    IncomingMessage,
    MessageForm,
    Priority,
    Run,
)
from notifications.sources import Audience
from notifications.subscriptions.recipients import find_chosen_audience

logger = logging.getLogger(__name__)


PAYLOAD_KEPT = timedelta(hours=1)
# A larger payload is kept with its long texts cut, such as pictures in base64.
KEPT_CHARACTERS = 1024 * 1024
CUT_CHARACTERS = 2000
CALLS_SHOWN = 50
# Kind of the jobs that fetch files.
FETCH = "inbound.files"
Outcome = InboundCall.Outcome
_CALLS = CountedMetric("guanwecom_inbound_calls", "Calls of inbound channels, by outcome", "kind", "outcome")


@dataclass(frozen=True)
class CallResult:
    """Result of a call. `run_ids`: to be queued after the transaction."""

    outcome: InboundCall.Outcome
    message_id: int | None = None
    run_ids: Sequence[int] = ()


def take_call(channel: InboundChannel, payload: Payload, *, request_key: str, now: datetime) -> CallResult:
    """Make a message or incidents of a payload. `request_key`: marks a repeated call in the sender's headers; empty for
    none. Runs of notices are made after the commit; the next tick makes those that are missing after a crash. Raise
    InboundError after writing it to the channel's log."""
    # Kept for the page of the channel's mapping, which shows the last payload.
    content = json.dumps(payload, ensure_ascii=False)
    if len(content) > KEPT_CHARACTERS:
        content = json.dumps(_cut_long_texts(payload), ensure_ascii=False)
    InboundChannel.objects.filter(pk=channel.pk).update(last_payload=content, last_payload_at=now)
    if not channel.is_enabled:
        log_call(channel, Outcome.NOTED, now=now)
        return CallResult(Outcome.NOTED)
    try:
        with transaction.atomic():
            if channel.is_alert:
                alerts, left_out_count = read_alerts(payload, now=now)
                found = incidents.receive_alerts(alerts, channel=channel, left_out_count=left_out_count, now=now)
                # A call that only repeats alerts updates their texts and times; nobody is notified.
                is_new = bool(found.opened or found.reopened or found.resolved)
                result = CallResult(Outcome.ACCEPTED if is_new else Outcome.REPEATED)
                log_call(channel, result.outcome, now=now)
            else:
                result = _take_message(channel, payload, request_key, now)
    except InboundError as error:
        log_call(channel, Outcome.REFUSED, error.sentence, now=now)
        raise
    if channel.is_alert and result.outcome == Outcome.ACCEPTED:
        return replace(result, run_ids=notify.request_notices(now=now))
    return result


def _take_message(channel: InboundChannel, payload: Payload, request_key: str, now: datetime) -> CallResult:
    mapped = map_payload(channel, payload, now=now)
    if mapped is None:
        log_call(channel, Outcome.LEFT_OUT, now=now)
        return CallResult(Outcome.LEFT_OUT)
    outcome, run_ids, left_out = Outcome.REPEATED, list[int](), tuple[Sentence, ...]()
    key = make_message_key(channel, mapped.key or request_key)
    job_key = hashlib.sha256(key.encode()).hexdigest()
    if mapped.urls:
        # The lock makes a repeat wait for the first call and find its job. Otherwise it would take the job over.
        InboundChannel.objects.select_for_update(of=("self",), no_key=True).get(pk=channel.pk)
    # Look for the job first: once the message is made, the job has no key any more.
    is_repeat = Job.objects.unfinished().filter(kind=FETCH, key=job_key).exists()
    message_id = IncomingMessage.objects.filter(key=key).values_list("pk", flat=True).first()
    is_repeat = is_repeat or message_id is not None
    if mapped.urls and not is_repeat:
        check_limit(channel, 1, now=now)  # its people are counted later
        requests.request_job(
            FETCH,
            key=job_key,
            subject=channel.name,
            payload={"channel": channel.pk, "key": key},
            secret_payload=json.dumps(payload),
            corp=channel.corp,
            now=now,
        )
        outcome = Outcome.ACCEPTED
    elif not is_repeat:
        accepted = accept_message(make_incoming(channel, mapped, key=key), now=now)
        message_id = accepted.message.pk
        if accepted.run_ids:
            outcome, run_ids, left_out = Outcome.ACCEPTED, accepted.run_ids, mapped.refused
    log_call(channel, outcome, message_id=message_id, now=now)
    log_missing_files(channel, left_out, now=now)
    return CallResult(outcome, message_id, run_ids)


def make_incoming(
    channel: InboundChannel,
    mapped: MappedMessage,
    *,
    key: str,
    fetched: Sequence[CheckedFile] = (),
    left_out: Sequence[Sentence] = (),
    chosen: Audience | None = None,
    only_user_id: int | None = None,
) -> IncomingDraft:
    """Return the message to accept. `fetched`: files fetched from its URLs; `left_out`: reasons why other files are not
    sent. `chosen`: people instead of those chosen for the channel. `only_user_id`: for a trial, this person only."""
    files, message = [*mapped.files, *fetched], mapped.message
    if mapped.refused or left_out:
        with translation.override(settings.LANGUAGE_CODE):
            missing = _("Some pictures or files that belong to it could not be sent.")
            message.text = f"{message.text}\n\n{missing}".strip()
    message.origin, message.key = IncomingMessage.Origin.CHANNEL, key
    message.corp, message.lifetime_hours = channel.corp, channel.lifetime_hours
    message.priority = Priority.URGENT if mapped.is_urgent else channel.priority
    # A form that only carries a file cannot be used without a file.
    lacks_file = channel.form in {MessageForm.FILE, MessageForm.IMAGE} and not files
    message.form = "" if lacks_file else channel.form
    return IncomingDraft(
        sender=channel,
        message=message,
        addresses=mapped.addresses or (),
        audience=None if mapped.addresses is not None else chosen or find_chosen_audience(channel),
        only_user_id=only_user_id,
        files=files,
    )


def make_message_key(channel: InboundChannel, key: str) -> str:
    """Return the message's key, unique among all messages; without `key` a new one each time."""
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest() if key else uuid.uuid4().hex
    return f"channel:{channel.pk}:{digest}"


def find_last_payload(channel: InboundChannel, *, now: datetime) -> tuple[Payload, datetime] | None:
    """Return the last payload and its time; None if there was none within PAYLOAD_KEPT or it cannot be read."""
    kept = InboundChannel.objects.filter(pk=channel.pk, last_payload_at__gt=now - PAYLOAD_KEPT)
    for content, received_at in kept.values_list("last_payload", "last_payload_at"):
        with suppress(ValueError):
            return json.loads(content), received_at or now
    return None


def _cut_long_texts(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= CUT_CHARACTERS else f"{value[: CUT_CHARACTERS - 1]}…"
    if isinstance(value, dict):
        return {name: _cut_long_texts(one) for name, one in value.items()}
    return [_cut_long_texts(one) for one in value] if isinstance(value, list) else value


def log_call(
    channel: InboundChannel,
    outcome: InboundCall.Outcome,
    reason: Sentence | None = None,
    *,
    now: datetime,
    message_id: int | None = None,
) -> None:
    """Write the outcome of a call to the log. If it equals the last entry, has no message and was not accepted, only
    that entry's count grows."""
    _CALLS.add(channel.kind, outcome.value)
    text = "" if reason is None else reason.serialize()
    if message_id is None and outcome != Outcome.ACCEPTED:
        last = InboundCall.objects.filter(channel=channel).newest_first().first()
        if last is not None and (last.outcome, last.reason, last.message_id) == (outcome, text, None):
            InboundCall.objects.filter(pk=last.pk).update(count=F("count") + 1, last_at=now)
            return
    InboundCall.objects.create(
        channel=channel, outcome=outcome, reason=text, message_id=message_id, first_at=now, last_at=now
    )


def log_missing_files(channel: InboundChannel, reasons: Iterable[Sentence], *, now: datetime) -> None:
    """Write to the log why pictures and files of an accepted message are not sent."""
    for reason in reasons:
        log_call(channel, Outcome.WITHOUT_FILE, reason, now=now)


# Limits for one file, and for all files of a message.
FILE_SECONDS = 20.0
TOTAL_SECONDS = 60.0
# After this many tries the message is made without its files.
TRIES_AT_MOST = 3
# After this many tries the message is given up.
GIVEN_UP_AFTER = 6


_GIVEN_UP = Sentence("“%(name)s” was not fetched: every worker that tried it stopped unexpectedly.")
_NOT_MADE = Sentence("The message was not made: every worker that tried it stopped unexpectedly.")
_UNREADABLE = Sentence("What was sent cannot be read with the present keys.")
_TOMORROW = Sentence("It waits for the next day: the channel has sent as much as it may today.")
_ENDED = Sentence("Meanwhile the channel was switched off, or its owner may no longer send messages.")


def fetch_files(run: JobRun) -> list[int] | RunAgain:
    """Fetch the files of one call and accept its message. Return the runs to queue. Files that cannot be fetched are
    left out and noted in the log. Raise LeaseLostError."""
    job = run.job
    channel = InboundChannel.objects.filter(pk=job.payload["channel"]).select_related("owner", "corp").first()
    if channel is None or not job.secret_payload:  # the channel was deleted, or another worker made the message
        return []
    try:
        if not channel.is_enabled or not InboundChannel.objects.usable().filter(pk=channel.pk).exists():
            raise InboundError("internal_error", _ENDED)
        try:
            payload = json.loads(require_readable(job.secret_payload))
        except UnreadableSecretError as error:
            raise InboundError("internal_error", _UNREADABLE) from error
        mapped = map_payload(channel, payload, now=job.requested_at)
        fetched, refused = ([], []) if mapped is None else _fetch_files(mapped, channel, run)
        run_ids: list[int] = []
        with transaction.atomic():
            if mapped is None:  # the mapping was changed meanwhile
                _update_log_entry(job, outcome=Outcome.LEFT_OUT)
            else:
                incoming = make_incoming(channel, mapped, key=job.payload["key"], fetched=fetched, left_out=refused)
                accepted = accept_message(incoming, now=run.clock())
                if not _update_log_entry(job, message=accepted.message, reason=""):
                    outcome = Outcome.ACCEPTED if accepted.run_ids else Outcome.REPEATED
                    log_call(channel, outcome, message_id=accepted.message.pk, now=run.clock())
                log_missing_files(channel, (*mapped.refused, *refused), now=run.clock())
                run_ids = accepted.run_ids
            _release_call(job)
            run.lock_job()
        return run_ids
    except InboundError as error:
        refusal = error
    now = run.clock()
    tomorrow = now + timedelta(seconds=refusal.retry_after_seconds)
    # If only the daily limit is reached, and the message does not expire before, wait for the next day.
    if now < tomorrow <= job.requested_at + timedelta(hours=channel.lifetime_hours):
        _update_log_entry(job, reason=_TOMORROW.serialize())
        return RunAgain(tomorrow)
    # Otherwise log the refusal, because the sender was told that the message is accepted.
    with transaction.atomic():
        log_call(channel, Outcome.REFUSED, refusal.sentence, now=now)
        _release_call(job)
        run.lock_job()
    return []


def _update_log_entry(job: Job, **changes: Any) -> int:
    """Update the log entry of a call that waited for its files. Entry and job have the same time. Return 0 if there is
    none, as when an administrator repeats the job."""
    waiting = InboundCall.objects.filter(outcome=Outcome.ACCEPTED, message=None, first_at=job.requested_at)
    return waiting.filter(channel=job.payload["channel"]).update(**changes)


def _release_call(job: Job) -> None:
    """Delete the call's payload and free its key, so that a repeat finds the message or makes one."""
    Job.objects.filter(pk=job.pk).update(key=None, secret_payload="")


def give_up_fetch(job: Job) -> None:
    """Note in the channel's log that the message was not made. The sender may repeat the call; the job keeps the
    payload, so that an administrator may repeat it, too."""
    channel = InboundChannel.objects.filter(pk=job.payload["channel"]).first()
    row = Job.objects.filter(pk=job.pk)
    if row.values_list("secret_payload", flat=True).get():  # else the message was made
        row.update(key=None)
        if channel is not None:
            log_call(channel, Outcome.REFUSED, _NOT_MADE, now=timezone.now())


def _fetch_files(
    mapped: MappedMessage, channel: InboundChannel, run: JobRun
) -> tuple[list[CheckedFile], list[Sentence]]:
    """Fetch the files of a message. Return them, and the reasons for missing ones."""
    files, refused, end = list[CheckedFile](), list[Sentence](), run.clock() + timedelta(seconds=TOTAL_SECONDS)
    room_bytes = MESSAGE_BYTES - sum(len(file.content) for file in mapped.files)
    allowed_network = find_allowed_network(allows_private_addresses=channel.allows_private_addresses)
    for name, url in mapped.urls:
        try:
            parts = urlsplit(url)
            host, file_name = parts.hostname, unquote(parts.path).rpartition("/")[2]
        except ValueError:
            host, file_name = None, ""
        # Path and query may hold a secret, so the log shows only the host.
        words = {"name": name or host or "file"}
        at_most = min(room_bytes, FILE_BYTES)
        if run.job.try_count > TRIES_AT_MOST:
            refused.append(_GIVEN_UP % words)
            continue
        if run.clock() > end:
            refused.append(Sentence("“%(name)s” was not fetched: all of them took too long.") % words)
            continue
        try:
            content = fetch_file(url, allowed_network=allowed_network, seconds=FILE_SECONDS, bytes_at_most=at_most)
            file = check_file(name or file_name or "file", content)
        except SourceError as error:
            refused.append(_explain_failure(error, words, is_full=at_most < FILE_BYTES))
        except InboundError as error:
            refused.append(error.sentence % words)
        else:
            room_bytes -= len(file.content)
            files.append(file)
    return files, refused


def _explain_failure(error: SourceError, words: dict[str, str], *, is_full: bool) -> Sentence:
    """Return why a file is missing. `is_full`: the other files left less than a file's usual limit for it."""
    if error.problem != Problem.TOO_BIG:
        reason = NoData(error.problem.value, error.facts)
        return Sentence("“%(name)s” was not fetched: %(reason)s") % {**words, "reason": reason}
    if is_full:
        return Sentence("“%(name)s” was not fetched: the files of a message may have 60 MB together.") % words
    return Sentence("“%(name)s” is larger than 20 MB.") % words


# Messages that one call of `purge_calls` deletes.
PURGED_AT_ONCE = 200


def find_old_payloads(now: Moment) -> QuerySet[InboundChannel]:
    """Return the channels whose last payload has expired."""
    return InboundChannel.objects.filter(last_payload_at__lte=now - PAYLOAD_KEPT)


def find_old_messages(now: Moment) -> QuerySet[IncomingMessage]:
    """Return the messages that are older than the log keeps and whose runs are purged."""
    has_runs = Exists(Run.objects.filter(message=OuterRef("pk")))
    return IncomingMessage.objects.filter(~has_runs, created_at__lt=now - timedelta(days=settings.LOG_RETENTION_DAYS))


def purge_calls(*, now: datetime) -> int:
    """Delete at most PURGED_AT_ONCE old messages, all old payloads, and the calls of each channel except the newest
    CALLS_SHOWN. Return the number of messages."""
    find_old_payloads(now).update(last_payload="", last_payload_at=None)
    ids = list(find_old_messages(now).order_by("created_at").values_list("pk", flat=True)[:PURGED_AT_ONCE])
    if ids:
        # Django loads rows that it deletes: only their keys, not the texts and whole mails.
        IncomingMessage.objects.filter(pk__in=ids).only("pk").delete()
    counts = InboundCall.objects.order_by().values("channel").annotate(call_count=Count("pk"))
    for channel_id in counts.filter(call_count__gt=CALLS_SHOWN).values_list("channel", flat=True):
        calls = InboundCall.objects.filter(channel=channel_id)
        # Delete by keys: excluding the newest ones instead would delete a call that comes in at this moment.
        calls.filter(pk__in=list(calls.newest_first().values_list("pk", flat=True)[CALLS_SHOWN:])).delete()
    return len(ids)
