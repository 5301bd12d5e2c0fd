"""Calls back the sender of a settled message by a signed POST, at least once, repeated with growing waits.

The message's row holds the state: if a worker dies during an attempt, the attempt is repeated when its lease has ended.
A receiver that gets it twice finds the same message id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F, Max

from integrations.clients.errors import UnreadableSecretError
from integrations.clients.sources import http_json
from integrations.core.background import log_errors
from integrations.core.sentences import Sentence, SentenceError
from integrations.data import Problem, SourceError
from integrations.datasources.query import find_allowed_network
from integrations.models.fields import require_readable
from notifications.delivery.rows import reserve_rows
from notifications.delivery.runs import statistics
from notifications.models import IncomingMessage

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

SECONDS_AT_MOST = 10.0
# It is longer than an attempt. Once it has ended, another worker repeats the attempt.
LEASE = timedelta(seconds=60)
# Minutes from one attempt to the next. The call is given up after the last attempt, a day and a half after the first.
WAITS_MINUTES = (1, 5, 15, 60, 180, 360, 720, 720)
HANDED_OUT_AT_ONCE = 200
TIMESTAMP, SIGNATURE = "X-Guanwecom-Timestamp", "X-Guanwecom-Signature"
Callback = IncomingMessage.Callback


def hand_out_callbacks(*, now: datetime) -> list[int]:
    """Claim the messages whose senders are to be called now and return their ids. Nobody else gets them for LEASE."""
    due = IncomingMessage.objects.to_call_back(now).order_by("callback_after", "pk")
    return reserve_rows(due, HANDED_OUT_AT_ONCE, callback_after=now + LEASE)


def call_back_senders(message_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> None:
    """Make one attempt for each message. The rest is handed out again if the worker stops."""
    for pk in message_ids:
        if is_stopping():
            return
        with log_errors(logger, "message=%d: its sender could not be called back", pk):
            waiting = IncomingMessage.objects.filter(pk=pk, callback_state=Callback.WAITING)
            message = waiting.settled().select_related("token__owner").defer("text", "original", "page").first()
            if message is None:
                continue
            token, count = message.token, message.callback_count
            # An expired token still reports messages that were accepted before; a revoked one does not.
            is_revoked = token is not None and not (
                token.revoked_at is None and token.owner.is_active and token.owner.is_staff
            )
            try:
                if is_revoked:
                    raise SentenceError(_ENDED)
                _post_result(message, clock())
            except (SourceError, SentenceError, UnreadableSecretError) as error:
                changes = {"callback_count": count + 1, "callback_error": _explain_failure(error).serialize()}
                if count < len(WAITS_MINUTES) and not is_revoked:
                    waiting.update(callback_after=clock() + timedelta(minutes=WAITS_MINUTES[count]), **changes)
                else:
                    waiting.update(callback_state=Callback.GIVEN_UP, callback_after=None, **changes)
                    logger.error("message=%d: its sender could not be called back and is given up", pk)
            else:
                waiting.update(
                    callback_state=Callback.DELIVERED, callback_count=F("callback_count") + 1, callback_error=""
                )
                logger.info("message=%d: its sender was called back", pk)


def _post_result(message: IncomingMessage, now: datetime) -> None:
    """Post the message's outcome to its sender, signed. Raise SourceError and UnreadableSecretError."""
    token = message.token
    if token is None or not token.signing_secret:
        raise SourceError(Problem.KEY_MISSING)
    counts = statistics.count_outcomes("run__message", message.pk)
    ended = message.runs.aggregate(at=Max("finished_at"))["at"]
    document: dict[str, Any] = {
        "event": "message.settled",
        "message_id": message.pk,
        "created_at": message.created_at.isoformat(),
        "settled_at": None if ended is None else ended.isoformat(),
        "counts": {
            "recipients": sum(message.runs.values_list("recipient_count", flat=True)),
            "skipped": sum(message.runs.values_list("skipped_count", flat=True)),
            "accepted": counts.accepted,
            "refused": counts.refused,
            "unknown": counts.unknown,
        },
        "unknown_recipients": len(message.unknown),
    }
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = str(int(now.timestamp()))
    # The signature is over the timestamp, a dot and the body.
    secret = require_readable(token.signing_secret).encode()
    mac = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    headers = {TIMESTAMP: timestamp, SIGNATURE: f"sha256={mac.hexdigest()}"}
    url = require_readable(message.callback_url)
    # The same rule as for a data source. Only a superuser may let a token reach the internal network.
    allowed_network = find_allowed_network(
        allows_private_addresses=token.allows_private_addresses and token.owner.is_superuser
    )
    http_json.post_json(url, body, headers=headers, allowed_network=allowed_network, seconds=SECONDS_AT_MOST)


_UNREADABLE = Sentence("The signing secret or the address cannot be read with the present keys.")
_ENDED = Sentence("The token was revoked, or its owner may no longer enter the administration.")
_FORBIDDEN = Sentence("Its address leads where the token's webhooks may not go.")
_SENTENCES = {
    Problem.KEY_MISSING: Sentence("The token has no signing secret, or is gone."),
    Problem.ADDRESS_FORBIDDEN: _FORBIDDEN,
    Problem.ADDRESS_NEVER: _FORBIDDEN,
    Problem.LOOPBACK_FORBIDDEN: _FORBIDDEN,
    Problem.REDIRECTED: Sentence("It answered with a redirect, which is not followed."),
    Problem.CERTIFICATE: Sentence("Its certificate is not trusted."),
    Problem.CREDENTIALS_REFUSED: Sentence("It refused the call (401 or 403)."),
    Problem.NOT_FOUND: Sentence("Nothing is at its address (404)."),
    Problem.BUSY: Sentence("It is busy (429)."),
}


def _explain_failure(error: SourceError | SentenceError | UnreadableSecretError) -> Sentence:
    """Return why the attempt failed. It does not reveal whether a port is closed or does not answer."""
    if isinstance(error, SentenceError):
        return error.sentence
    if isinstance(error, UnreadableSecretError):
        return _UNREADABLE
    if error.problem in {Problem.BROKEN, Problem.REFUSED}:
        code = error.facts.get("status") or error.facts.get("code") or 0
        return Sentence("It answered with the status %(status)d.") % {"status": code}
    return _SENTENCES.get(error.problem, Sentence("There was no answer in time."))
