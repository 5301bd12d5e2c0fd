"""API errors: problem details (RFC 9457) with stable codes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from notifications.api.schemas import ProblemDetails

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.utils.functional import _StrPromise


CONTENT_TYPE = "application/problem+json"
# By a code and its status: what it means, in a sentence for whoever reads a log.
TITLES: dict[str, tuple[int, _StrPromise]] = {
    "malformed_request": (400, _("The body is no JSON, or no form.")),
    "missing_token": (401, _("A token is missing: Authorization: Bearer …")),
    "invalid_token": (401, _("The token is unknown, revoked or expired, or its owner was disabled.")),
    "action_not_allowed": (403, _("The token or its owner may not do this.")),
    "invalid_proof": (401, _("No channel has this address, or its secret or signature is missing or wrong.")),
    "not_found": (404, _("There is no such thing, or the token does not reach it.")),
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
    "invalid_request": (422, _("The request is not as it should be.")),
    "mapping_failed": (422, _("The channel's mapping does not fit what was sent.")),
    "idempotency_key_reused": (422, _("The Idempotency-Key belongs to another request.")),
    "too_many_requests": (429, _("Too many requests.")),
    "internal_error": (500, _("Something went wrong here; the log says what.")),
    "busy": (503, _("More requests arrive than can be answered; try again soon.")),
    "restored_copy": (503, _("This is a restored copy of the installation: it takes nothing.")),
    "unavailable": (503, _("The database or Valkey does not answer at the moment; try again soon.")),
}
# What may come of any call with a token.
ALWAYS = frozenset({401, 403, 404, 413, 422, 429, 503})
_BY_STATUS = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    500: "internal_error",
}


@dataclass
class ProblemError(Exception):
    """Ends the call with this answer. `detail`: of this case; `more`: members beside the usual ones."""

    code: str
    detail: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def response(error: ProblemError) -> HttpResponse:
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


def instead_of(other: HttpResponse) -> HttpResponse:
    """The problem in place of what Django words for browsers, with the headers that it has."""
    code = _BY_STATUS.get(other.status_code)
    if code is None or other.headers.get("Content-Type", "").startswith(CONTENT_TYPE):
        return other
    other.content = response(ProblemError(code)).content
    other.headers["Content-Type"] = CONTENT_TYPE
    other.headers["Content-Length"] = str(len(other.content))
    return other


# --- What the OpenAPI document says of refusals, the same for each operation ---


def problems(*statuses: int) -> dict[int, type[ProblemDetails]]:
    """The statuses that any operation may answer with, and these."""
    return dict.fromkeys(sorted({*ALWAYS, *statuses}), ProblemDetails)
