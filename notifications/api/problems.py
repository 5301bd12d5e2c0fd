"""API errors as problem details (RFC 9457) with stable codes, and the middleware that produces them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from notifications.api.schemas import ProblemDetails, UnknownRecipient
from notifications.inbound.content import InboundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.utils.functional import _StrPromise


CONTENT_TYPE, JSON, MULTIPART = "application/problem+json", "application/json", "multipart/form-data"
ROOTS = ("/api/", "/in/")
BODY_BYTES_AT_MOST = 256 * 1024
# Messages have long texts and many recipients; forms carry 20 MB of files.
MESSAGE_BYTES_AT_MOST, FORM_BYTES_AT_MOST = 1024 * 1024, 21 * 1024 * 1024
MESSAGES, UPLOADS = "/api/v1/messages", "/api/v1/uploads"
# Inbound calls may contain pictures and files. The view enforces a smaller limit per content type.
INBOUND_BYTES_AT_MOST = 24 * 1024 * 1024
# For each code the HTTP status and the title, a sentence for people who read a log.
TITLES: dict[str, tuple[int, _StrPromise]] = {
    "malformed_request": (400, _("The body is neither JSON nor a form.")),
    "missing_token": (401, _("A token is missing: Authorization: Bearer …")),
    "invalid_token": (401, _("The token is unknown, revoked or expired, or its owner was disabled.")),
    "action_not_allowed": (403, _("The token or its owner may not do this.")),
    "invalid_proof": (401, _("No channel has this address, or its secret or signature is missing or wrong.")),
    "not_found": (404, _("It does not exist, or the token does not reach it.")),
    "method_not_allowed": (405, _("This address does not take this method.")),
    "subscription_disabled": (409, _("The push is disabled.")),
    "rule_disabled": (409, _("The alert rule is disabled.")),
    "outside_validity": (409, _("The push is not valid at this time.")),
    "run_under_way": (409, _("A run of this push is under way.")),
    "corp_not_found": (422, _("There is no such company, several have the name, or the token does not reach it.")),
    "upload_not_found": (422, _("There is no such upload, or it has expired.")),
    "file_refused": (422, _("A file cannot be sent.")),
    "too_many_files": (422, _("A message carries at most 20 files, and uploads of at most 60 MB.")),
    "callback_not_possible": (422, _("The webhook cannot be called at this address, or the token signs none.")),
    "nobody_found": (422, _("None of the recipients is known.")),
    "daily_limit_reached": (429, _("The token may not send that many messages today.")),
    "too_many_uploads": (429, _("Too many uploads wait for their messages.")),
    "body_too_large": (413, _("The body is too large.")),
    "unsupported_media_type": (415, _("The body must be application/json, or a form where files may come.")),
    "invalid_request": (422, _("The request is not valid.")),
    "mapping_failed": (422, _("The channel's mapping does not fit what was sent.")),
    "idempotency_key_reused": (422, _("The Idempotency-Key belongs to another request.")),
    "too_many_requests": (429, _("Too many requests.")),
    "internal_error": (500, _("Something went wrong here; the log says what.")),
    "busy": (503, _("More requests arrive than can be answered; try again soon.")),
    "restored_copy": (503, _("This is a restored copy of the installation: it takes nothing.")),
    "unavailable": (503, _("The database or Valkey does not answer at the moment; try again soon.")),
}
# Statuses that any call may answer with.
ALWAYS = frozenset({401, 403, 404, 413, 422, 429, 503})
# Codes for answers of Django itself.
_BY_STATUS = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    500: "internal_error",
}


@dataclass
class ProblemError(Exception):
    """An error that ends the call. `detail`: explains this case; `more`: additional members of the JSON."""

    code: str
    detail: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def make_problem(error: InboundError, *, detail: str = "") -> ProblemError:
    """Return the problem for a refusal. Without `detail` it lists the recipients for whom nobody was found."""
    wait = {"Retry-After": str(error.retry_after_seconds)} if error.retry_after_seconds else {}
    unknown = [
        UnknownRecipient.from_document({**one.to_document(), "reason": why}).model_dump() for one, why in error.unknown
    ]
    more = {"unknown": unknown} if unknown and not detail else {}
    return ProblemError(error.code, detail, headers=wait, more=more)


def make_response(error: ProblemError) -> HttpResponse:
    status, title = TITLES[error.code]
    problem = {
        "type": f"urn:guanwecom:problem:{error.code}",
        "title": str(title),
        "status": status,
        "code": error.code,
        "detail": error.detail or str(title),
        **error.more,
    }
    text = json.dumps(problem, ensure_ascii=False)
    return HttpResponse(text, status=status, content_type=CONTENT_TYPE, headers=dict(error.headers))


def list_problem_responses(*statuses: int) -> dict[int, type[ProblemDetails]]:
    """Return the error responses of an operation for the OpenAPI document: the common statuses and `statuses`."""
    return dict.fromkeys(sorted({*ALWAYS, *statuses}), ProblemDetails)


def read_json(body: bytes) -> Any:
    """Parse JSON strictly by RFC 8259. Raises ProblemError."""
    try:
        # NaN and Infinity are no JSON: int raises ValueError for them.
        return json.loads(body.decode("utf-8"), parse_constant=int)
    except (ValueError, RecursionError) as error:
        raise ProblemError("malformed_request") from error


class ApiMiddleware:
    """Removes cookies from API calls, so that no session is used there and other sites cannot make a browser call the
    API. Place it after SiteAddressMiddleware and before SessionMiddleware. It also limits the size of the body, and
    replaces Django's HTML errors by problem details."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(ROOTS):
            return self.get_response(request)
        request.META.pop("HTTP_COOKIE", None)
        with translation.override(translation.get_language_from_request(request)):
            # Without a declared length, Django reads no body.
            length = request.META.get("CONTENT_LENGTH") or "0"
            is_valid_length = length.isascii() and length.isdigit() and len(length) < 16
            at_most = MESSAGE_BYTES_AT_MOST if request.path_info == MESSAGES else BODY_BYTES_AT_MOST
            if request.path_info.startswith("/in/"):
                at_most = INBOUND_BYTES_AT_MOST
            elif request.path_info in {MESSAGES, UPLOADS} and request.content_type == MULTIPART:
                at_most = FORM_BYTES_AT_MOST
            if is_valid_length and int(length) > at_most:
                answer = make_response(ProblemError("body_too_large"))
            else:
                answer = self.get_response(request)
                code = _BY_STATUS.get(answer.status_code)
                if code is not None and not answer.headers.get("Content-Type", "").startswith(CONTENT_TYPE):
                    answer.content = make_response(ProblemError(code)).content
                    answer.headers["Content-Type"] = CONTENT_TYPE
                    answer.headers["Content-Length"] = str(len(answer.content))
        answer.headers["Cache-Control"] = "no-store"
        return answer
