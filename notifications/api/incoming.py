"""`/messages`: send messages and read their outcome. `/uploads`: pictures and files for messages. `/in/`: calls for
inbound channels."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from ninja import Router, Status
from ninja.errors import ValidationError
from ninja.params.functions import Header, Query
from pydantic import ValidationError as InvalidError

from accounts.audit import services, signals
from accounts.authentication.flow import find_network
from accounts.models import AuditEntry, User
from integrations.clients.sources.addresses import is_callable_address
from integrations.core.background import database_now
from integrations.models import Corp
from notifications.api.problems import (
    JSON,
    MULTIPART,
    ProblemError,
    list_problem_responses,
    make_problem,
    make_response,
    read_json,
)
from notifications.api.schemas import (
    LARGEST_ID,
    Id,
    MessageIn,
    MessagePreview,
    MessageState,
    UploadState,
)
from notifications.api.tokens import CALLS_PER_ADDRESS, Action, count_call, read_client_address, require_token
from notifications.delivery.runs.triggers import KEY_PATTERN, answer_once, compute_fingerprint
from notifications.inbound import calls, channels, content
from notifications.inbound.accept import (
    UPLOADS_KEPT,
    IncomingDraft,
    accept_message,
    find_uploads,
    keep_upload,
    preview_incoming,
)
from notifications.inbound.channels import SCHEMES, Proof
from notifications.inbound.content import SENTENCES, InboundError
from notifications.inbound.payloads import BODY_BYTES, MULTIPART_BYTES, parse_body
from notifications.models import (
    ApiToken,
    InboundCall,
    InboundChannel,
    IncomingMessage,
    Priority,
    Receipt,
    Run,
)
from notifications.tasks import enqueue_runs

router = Router(tags=["messages"])
# Number of receipts in one answer, by default and at most; number of people named in the answer to a dry run.
PAGE, PAGE_AT_MOST = 100, 1000
PREVIEWED_AT_MOST = 1000


def _make_form_schema(message: dict[str, Any], file_name: str, *, is_many: bool) -> dict[str, Any]:
    """Return the JSON schema of a form, for the OpenAPI document. `message`: {"message": the field's schema}, or {}."""
    binary: dict[str, Any] = {"type": "string", "format": "binary"}
    file = {"type": "array", "items": binary, "maxItems": content.FILES_AT_MOST} if is_many else binary
    return {"type": "object", "properties": {**message, file_name: file}, "required": [*(message or [file_name])]}


_MESSAGE_SCHEMA = {"$ref": "#/components/schemas/MessageIn"}
_MESSAGE_BODY = {
    "required": True,
    "content": {
        JSON: {"schema": _MESSAGE_SCHEMA},
        MULTIPART: {
            "schema": _make_form_schema({"message": _MESSAGE_SCHEMA}, "files", is_many=True),
            "encoding": {"message": {"contentType": JSON}},
        },
    },
}
_UPLOAD_BODY = {"required": True, "content": {MULTIPART: {"schema": _make_form_schema({}, "file", is_many=False)}}}


@router.post(
    "/messages",
    response={200: MessagePreview, 202: MessageState, **list_problem_responses(400, 415)},
    summary="Send a message to people",
    openapi_extra={"requestBody": _MESSAGE_BODY},
)
def send_message(
    request: HttpRequest,
    idempotency_key: str | None = Header(
        None,
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="The same key with the same request within 24 hours gives the same answer and no second message.",
    ),
) -> HttpResponse | Status[MessagePreview]:
    """Send a message and answer as soon as it is stored. Read its outcome at `/messages/{message_id}` (header
    `Location`). Send JSON, or a form with the JSON in `message` and pictures and files in `files`. Recipients out of
    the token's reach count as unknown. Answers 422 if no recipient is known, 429 above the token's daily limit."""
    token = require_token(request, Action.SEND)
    # Parsed without the database: a repeated request has the same fingerprint even if its uploads were deleted since.
    sent: list[Any] = []
    if request.content_type == MULTIPART:
        fields, files = _read_form(request)
        document = read_json(fields.get("message", "").encode("utf-8", "surrogatepass"))
        sent = files.getlist("files")
    elif request.content_type == JSON:
        document = read_json(request.body)
    else:
        raise ProblemError("unsupported_media_type")
    try:
        body = MessageIn.model_validate(document)
    except InvalidError as error:
        raise ValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error
    carried = [_check_file(file) for file in sent]
    parts = [body.model_dump_json(), *(file.digest for file in carried)]
    send_request = _SendRequest(body, carried, compute_fingerprint("POST", request.path, "\n".join(parts)))
    if send_request.body.dry_run:
        found = preview_incoming(_build_message(token, send_request))
        ids = [one.user_id for one in found.recipients[:PREVIEWED_AT_MOST]]
        usernames = dict(User.objects.filter(pk__in=ids).values_list("pk", "username"))
        return Status(200, MessagePreview.from_preview(found, usernames))
    return _accept_request(request, token, send_request, idempotency_key or "")


@router.get(
    "/messages/{int:message_id}",
    response={200: MessageState, **list_problem_responses()},
    url_name="get_message",
    summary="The outcome of a message, by person",
)
def get_message(
    request: HttpRequest,
    message_id: Id,
    after: int = Query(0, ge=0, le=LARGEST_ID, description="Only receipts with a larger id"),
    limit: int = Query(PAGE, ge=1, le=PAGE_AT_MOST),
) -> MessageState:
    """Return one of the token's own messages, with a page of receipts by id."""
    token = require_token(request, Action.SEND)
    messages = IncomingMessage.objects.filter(token=token).defer("text", "original", "page")
    message = get_object_or_404(messages, pk=message_id)
    receipts = Receipt.objects.filter(run__message=message, pk__gt=after).order_by("pk")
    rows = list(receipts.select_related("user", "run", "delivery").defer("delivery__body")[: limit + 1])
    return MessageState.from_message(message, rows[:limit], rows[limit - 1].pk if len(rows) > limit else None)


@router.post(
    "/uploads",
    response={201: UploadState, **list_problem_responses(400, 415)},
    summary="Upload a picture or a file for later messages",
    openapi_extra={"requestBody": _UPLOAD_BODY},
)
def upload_file(request: HttpRequest) -> Status[UploadState]:
    """Upload a file of up to 20 MB, as a form with one `file`. It is kept for a day, for messages of the same token."""
    token, now = require_token(request, Action.SEND), database_now()
    if request.content_type != MULTIPART:
        raise ProblemError("unsupported_media_type")
    sent = _read_form(request)[1].getlist("file")
    if len(sent) != 1:
        raise ProblemError("invalid_request", more={"errors": [{"where": ["body", "file"], "what": "one file"}]})
    upload = keep_upload(token, _check_file(sent[0]), now=now)
    return Status(201, UploadState.from_upload(upload, upload.created_at + UPLOADS_KEPT))


@dataclass(frozen=True)
class _SendRequest:
    """A parsed request to send a message. `fingerprint`: equal for a repeated request."""

    body: MessageIn
    files: list[content.CheckedFile]
    fingerprint: str


def _build_message(token: ApiToken, send_request: _SendRequest) -> IncomingDraft:
    """Build the message, with its uploads and company from the database. Raises ProblemError."""
    body = send_request.body
    known = find_uploads(token, body.uploads, now=database_now())
    missing = [pk for pk in body.uploads if pk not in known]
    if missing:
        raise ProblemError("upload_not_found", more={"errors": [{"where": ["body", "uploads"], "what": str(missing)}]})
    files = [*send_request.files, *(known[pk] for pk in body.uploads)]
    if len(files) > content.FILES_AT_MOST:
        raise ProblemError("too_many_files")
    if (url := body.callback_url) and not (url.isascii() and is_callable_address(url) and token.signing_secret):
        raise ProblemError("callback_not_possible")
    corps: list[Corp | None] = [None]
    if (name := body.corp) is not None:  # the CorpId or the name of a company that the token's owner sees
        visible = Corp.objects.visible_to(token.owner).filter(Q(corpid=name) | Q(name=name))
        corps = list(visible[:2]) if name.isprintable() else []
    if len(corps) != 1:
        raise ProblemError("corp_not_found")
    message = IncomingMessage(
        origin=IncomingMessage.Origin.API,
        key=f"api:{token.pk}:{secrets.token_hex(16)}",
        title=body.title,
        text=body.text,
        markup=body.markup,
        link=body.link or "",
        figures=[[one.caption, one.words] for one in body.figures],
        form="" if body.form == "auto" else body.form,
        priority=Priority.URGENT if body.priority == "urgent" else Priority.ORDINARY,
        lifetime_hours=body.lifetime_hours,
        corp=corps[0],
        callback_url=body.callback_url or "",
    )
    return IncomingDraft(token, message, [one.address for one in body.recipients], files)


def _read_form(request: HttpRequest) -> tuple[Any, Any]:
    """Return fields and files of a form. Raises ProblemError if it cannot be parsed."""
    try:
        return request.POST, request.FILES
    except RequestDataTooBig as error:
        raise ProblemError("body_too_large") from error
    except (MultiPartParserError, UnicodeDecodeError) as error:
        raise ProblemError("malformed_request") from error


def _check_file(sent: Any) -> content.CheckedFile:
    if sent.size > content.FILE_BYTES:
        raise ProblemError("body_too_large")
    return content.check_file(sent.name or "", sent.read())


def _accept_request(request: HttpRequest, token: ApiToken, send_request: _SendRequest, key: str) -> HttpResponse:
    """Accept the message and answer 202. `key`: the Idempotency-Key; a repeated request gets the first one's answer."""
    now = database_now()

    def make_run() -> tuple[Run, str]:
        accepted = accept_message(_build_message(token, send_request), now=now)
        # The audit trail has the number of people, but no content.
        note = f"message:{accepted.message.pk} → {accepted.message.person_count}"
        with services.set_actor(token.owner, read_client_address(request)):
            services.record(action=AuditEntry.Action.DONE, subject=token, note=note, corps=signals.find_corps(token))
        enqueue_runs(accepted.run_ids)
        return Run.objects.get(pk=accepted.run_ids[0]), MessageState.from_message(
            accepted.message, [], None
        ).model_dump_json()

    run, answer, is_repeated = answer_once(
        token=token, key=key, fingerprint=send_request.fingerprint, now=now, make=make_run
    )
    return answer_accepted(answer, is_repeated, reverse("api-1:get_message", args=[run.message_id]))


def answer_accepted(answer: str, is_repeated: bool, location: str) -> HttpResponse:
    """Return 202 with the stored answer, and in `Location` the URL where the outcome can be read."""
    headers = {"Location": location, **({"Idempotency-Replayed": "true"} if is_repeated else {})}
    return HttpResponse(answer, status=202, content_type="application/json; charset=utf-8", headers=headers)


# --- `/in/<public id>`: calls of other systems for an inbound channel, in many formats --------------------------------
# Without the channel's secret, the answer is the same for every URL. The query may hold a token, so it is removed from
# the request before anything can log it.

# Keys under which servers store the URL with its query.
RAW_ADDRESSES = frozenset({"RAW_URI", "REQUEST_URI"})
# Headers that have the same value in a repeated call.
REPEAT_HEADERS = ("Idempotency-Key", "X-Gitlab-Event-UUID", "X-GitHub-Delivery", "Webhook-Id")


@csrf_exempt
def receive_call(request: HttpRequest, public_id: str) -> HttpResponse:
    """Take a call for an inbound channel. Answer 202 with the outcome once it is stored, else problem details. Refused
    calls are written to the channel's log, too."""
    query = request.GET.dict()
    request.META["QUERY_STRING"], request.GET = "", QueryDict()
    for raw in RAW_ADDRESSES & request.META.keys():  # kept without the query, because the access log reads them
        request.META[raw] = request.path
    key: str | None = None  # by which a repeated call is recognised; None until the secret is proved
    try:
        if request.method not in {"POST", "PUT"}:
            raise ProblemError("method_not_allowed", headers={"Allow": "POST, PUT"})
        count_call(f"in:address:{find_network(request) or 'unknown'}", CALLS_PER_ADDRESS)
        found = InboundChannel.objects.usable().select_related("owner", "corp")
        channel = found.filter(public_id=public_id, kind=InboundChannel.Kind.WEBHOOK).first()
        scheme = None if channel is None else SCHEMES.get(channel.scheme)
        try:
            # The body is read before the check only if the check needs it.
            body = _read_body(request) if scheme is not None and scheme.needs_secret else b""
            proof = Proof(request.headers, query, body)
            key = channels.verify_proof(channel, proof, now=timezone.now().timestamp())
            if key is None or channel is None:
                raise InboundError("invalid_proof")
            body = body or _read_body(request)
            count_call(f"in:channel:{channel.pk}", settings.API_CALLS_PER_TOKEN)
            payload = parse_body(body, request.headers.get("Content-Type", ""))
        except (InboundError, ProblemError) as error:
            if channel is not None and error.code in SENTENCES:
                calls.log_call(channel, InboundCall.Outcome.REFUSED, SENTENCES[error.code], now=database_now())
            # Without the secret, no answer may reveal that the channel exists.
            headers = error.headers if isinstance(error, ProblemError) else {}
            raise ProblemError(error.code if key is not None else "invalid_proof", headers=headers) from error
        # If the signature covers the time, headers are not used: those of a replayed call could have been changed.
        key = key or next((request.headers[name] for name in REPEAT_HEADERS if request.headers.get(name)), "")
        result = calls.take_call(channel, payload, request_key=key, now=database_now())
    except ProblemError as error:
        return make_response(error)
    except InboundError as error:
        return make_response(make_problem(error, detail=str(error)))
    enqueue_runs(result.run_ids)
    known = {} if result.message_id is None else {"id": result.message_id}
    return JsonResponse({"status": result.outcome.value, **known}, status=202)


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
