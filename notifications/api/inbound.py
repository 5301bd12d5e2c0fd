"""`/in/<public id>`: receives calls of other systems for an inbound channel, in many formats. Without the channel's
secret, the answer is the same for every URL. The query may hold a token, so it is removed from the request before
anything can log it."""

from __future__ import annotations

import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.http.request import UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts.authentication.flow import network_of
from integrations.core.background import database_now
from integrations.core.sentences import Sentence
from integrations.models.fields import Unreadable
from notifications.api import tokens
from notifications.api.problems import ProblemError, response
from notifications.api.tokens import count_call
from notifications.inbound import calls, channels
from notifications.inbound.calls import CallRefusedError, Taken
from notifications.inbound.channels import SCHEMES, Kept, Proof
from notifications.inbound.payloads import BODY_BYTES, MULTIPART_BYTES, PayloadError, parsed
from notifications.models import InboundCall, InboundChannel
from notifications.tasks import enqueue_runs

# Keys under which servers store the URL with its query.
RAW_ADDRESSES = frozenset({"RAW_URI", "REQUEST_URI"})
# Headers that mark a repeated call.
REPEAT_HEADERS = ("Idempotency-Key", "X-Gitlab-Event-UUID", "X-GitHub-Delivery", "Webhook-Id")
_REASONS = {
    "invalid_proof": Sentence("The secret or the signature is missing or wrong."),
    "malformed_request": Sentence("The body is neither JSON nor a form that can be read."),
    "body_too_large": Sentence("The body is too large, or nested too deeply."),
    "too_many_requests": Sentence("There were too many calls in a minute."),
}


@csrf_exempt
def receive(request: HttpRequest, public_id: str) -> HttpResponse:
    """Answer 202 with the outcome once the message is stored, problem details otherwise."""
    query = request.GET.dict()
    request.META["QUERY_STRING"], request.GET = "", QueryDict()
    for raw in RAW_ADDRESSES & request.META.keys():  # kept without the query, because the access log reads them
        request.META[raw] = request.path
    try:
        if request.method not in {"POST", "PUT"}:
            raise ProblemError("method_not_allowed", headers={"Allow": "POST, PUT"})
        taken = _take_call(request, public_id, query)
    except ProblemError as error:
        return response(error)
    enqueue_runs(taken.run_ids)
    known = {} if taken.message_id is None else {"id": taken.message_id}
    return JsonResponse({"status": taken.outcome.value, **known}, status=202)


def _take_call(request: HttpRequest, public_id: str, query: dict[str, str]) -> Taken:
    """Check and accept the call. Raises ProblemError."""
    count_call(f"in:address:{network_of(request) or 'unknown'}", tokens.CALLS_PER_ADDRESS)
    found = InboundChannel.objects.usable().select_related("owner", "corp")
    channel = found.filter(public_id=public_id, kind=InboundChannel.Kind.WEBHOOK).first()
    body = _read_proven_body(request, channel, query)
    if channel is None:  # for the type checker: _read_proven_body has refused the call
        raise ProblemError("invalid_proof")
    try:
        count_call(f"in:channel:{channel.pk}", settings.API_CALLS_PER_TOKEN)
        payload = parsed(body, request.headers.get("Content-Type", ""))
        key = _repeat_key(channel, Proof(request.headers, query, body))
        return calls.take(channel, payload, request_key=key, now=database_now())
    except PayloadError as error:
        raise _refuse(channel, error.code) from error
    except CallRefusedError as refused:
        wait = {"Retry-After": str(refused.retry_after_seconds)} if refused.retry_after_seconds else {}
        raise ProblemError(refused.code, str(refused.sentence), headers=wait) from refused
    except ProblemError as error:
        _refuse(channel, error.code)
        raise


def _read_proven_body(request: HttpRequest, channel: InboundChannel | None, query: dict[str, str]) -> bytes:
    """Return the body after verifying the secret or signature. Raises ProblemError. The body is read before the check
    only if the check needs it."""
    scheme = SCHEMES.get(channel.scheme, SCHEMES["bearer"]) if channel is not None else SCHEMES["bearer"]
    body = b""
    if scheme.needs_secret:
        try:
            body = _read_body(request, channel)
        except ProblemError as error:  # the answer must not reveal that the channel exists
            raise ProblemError("invalid_proof") from error
    if not _is_proven(channel, Proof(request.headers, query, body)):
        raise _refuse(channel, "invalid_proof")
    return body or _read_body(request, channel)


def _is_proven(channel: InboundChannel | None, proof: Proof) -> bool:
    if channel is None:
        return channels.verify("bearer", proof, Kept(), now=time.time())
    kept = Kept("" if isinstance(channel.secret, Unreadable) else channel.secret, channel.digest)
    return channels.verify(channel.scheme, proof, kept, now=timezone.now().timestamp())


def _read_body(request: HttpRequest, channel: InboundChannel | None) -> bytes:
    """Return the body. Raises ProblemError if it is too large or cannot be read."""
    at_most = MULTIPART_BYTES if request.content_type == "multipart/form-data" else BODY_BYTES
    try:
        body = request.read(at_most + 1)
    except UnreadablePostError as error:
        raise ProblemError("malformed_request") from error
    if len(body) > at_most:
        raise _refuse(channel, "body_too_large")
    return body


def _repeat_key(channel: InboundChannel, proof: Proof) -> str:
    """Return a key that identifies repeated calls. With a signature over the time no header counts, because headers of
    a replayed call can be changed."""
    signed = channels.repeat_key(channel.scheme, proof, now=timezone.now().timestamp())
    return signed or next((proof.headers[name] for name in REPEAT_HEADERS if proof.headers.get(name)), "")


def _refuse(channel: InboundChannel | None, code: str) -> ProblemError:
    """Log the refusal in the channel's calls and return the error."""
    if channel is not None and code in _REASONS:
        calls.note(channel, InboundCall.Outcome.REFUSED, _REASONS[code], now=database_now())
    return ProblemError(code)
