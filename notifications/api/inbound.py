"""`/in/<public id>`: receives calls of other systems for an inbound channel, in many formats. Without the channel's
secret, the answer is the same for every URL. The query may hold a token, so it is removed from the request before
anything can log it."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.http.request import UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts.authentication.flow import network_of
from integrations.core.background import database_now
from notifications.api import tokens
from notifications.api.problems import ProblemError, problem_of, response
from notifications.api.tokens import count_call
from notifications.inbound import calls, channels
from notifications.inbound.calls import CallResult
from notifications.inbound.channels import SCHEMES, Proof
from notifications.inbound.content import SENTENCES, InboundError
from notifications.inbound.payloads import BODY_BYTES, MULTIPART_BYTES, parse_body
from notifications.models import InboundCall, InboundChannel
from notifications.tasks import enqueue_runs

# Keys under which servers store the URL with its query.
RAW_ADDRESSES = frozenset({"RAW_URI", "REQUEST_URI"})
# Headers that mark a repeated call.
REPEAT_HEADERS = ("Idempotency-Key", "X-Gitlab-Event-UUID", "X-GitHub-Delivery", "Webhook-Id")


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
        result = _take_call(request, public_id, query)
    except ProblemError as error:
        return response(error)
    except InboundError as error:
        return response(problem_of(error, detail=str(error)))
    enqueue_runs(result.run_ids)
    known = {} if result.message_id is None else {"id": result.message_id}
    return JsonResponse({"status": result.outcome.value, **known}, status=202)


def _take_call(request: HttpRequest, public_id: str, query: dict[str, str]) -> CallResult:
    """Check and accept the call. Raise ProblemError if it is not proven or cannot be read, and InboundError if what it
    says is refused. The channel's log has either."""
    count_call(f"in:address:{network_of(request) or 'unknown'}", tokens.CALLS_PER_ADDRESS)
    found = InboundChannel.objects.usable().select_related("owner", "corp")
    channel = found.filter(public_id=public_id, kind=InboundChannel.Kind.WEBHOOK).first()
    scheme = None if channel is None else SCHEMES.get(channel.scheme)
    key: str | None = None
    try:
        # The body is read before the check only if the check needs it.
        body = _read_body(request) if scheme is not None and scheme.needs_secret else b""
        proof = Proof(request.headers, query, body)
        key = channels.verify(channel, proof, now=timezone.now().timestamp())
        if key is None or channel is None:
            raise InboundError("invalid_proof")
        body = body or _read_body(request)
        count_call(f"in:channel:{channel.pk}", settings.API_CALLS_PER_TOKEN)
        payload = parse_body(body, request.headers.get("Content-Type", ""))
    except (InboundError, ProblemError) as error:
        if channel is not None and error.code in SENTENCES:
            calls.note(channel, InboundCall.Outcome.REFUSED, SENTENCES[error.code], now=database_now())
        # Without the secret, no answer may reveal that the channel exists.
        headers = error.headers if isinstance(error, ProblemError) else {}
        raise ProblemError(error.code if key is not None else "invalid_proof", headers=headers) from error
    # With a signature over the time no header counts, because headers of a replayed call can be changed.
    key = key or next((request.headers[name] for name in REPEAT_HEADERS if request.headers.get(name)), "")
    return calls.take(channel, payload, request_key=key, now=database_now())


def _read_body(request: HttpRequest) -> bytes:
    """Return the body. Raise InboundError if it is too large or cannot be read."""
    at_most = MULTIPART_BYTES if request.content_type == "multipart/form-data" else BODY_BYTES
    try:
        body = request.read(at_most + 1)
    except UnreadablePostError as error:
        raise InboundError("malformed_request") from error
    if len(body) > at_most:
        raise InboundError("body_too_large")
    return body
