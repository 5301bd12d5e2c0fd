"""Parses the BI's responses; raises the error class that says what the caller should do.

The BI says whether a call succeeded by `result`, never by the HTTP status. No error carries an address or a secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import urllib3

from integrations.clients.errors import (
    ConfigurationError,
    IntegrationError,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.network import causes
from integrations.clients.wecom.deadline import NotConnectedError

SYSTEM = "guandata"
SIGN_IN = "sign_in"
CLIPPED_CHARACTERS = 300
# The BI does not say for how long it wants to be left alone.
RETRY_SECONDS = 60
NOT_ADMITTED = frozenset({int(HTTPStatus.UNAUTHORIZED), int(HTTPStatus.FORBIDDEN)})
# The proxy wants credentials, or does not let us out.
_PROXY_REFUSES = NOT_ADMITTED | {int(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)}


class NotAdmittedError(ConfigurationError):
    """The token is refused. The client tries once more with another; the caller gets a ConfigurationError."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `secrets` never appear in an error, whatever the other side repeats."""

    operation: str
    secrets: tuple[str, ...] = field(repr=False)

    def error(self, cls: type[IntegrationError], message: str, **known: Any) -> IntegrationError:
        """An error of this call. Secrets are taken out of `message`, and what is too long is cut."""
        return cls(self.scrubbed(message), system=SYSTEM, operation=self.operation, **known)

    def scrubbed(self, text: str) -> str:
        """`text` without the secrets, at most CLIPPED_CHARACTERS characters of it."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "***")
        return text[:CLIPPED_CHARACTERS]


def response_of(request: Request, status: int, content: bytes) -> Any:
    """The `response` of an answer whose `result` is ok. Raises the error of any other."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and answer.get("result") == "ok":
        return answer.get("response")
    if status in NOT_ADMITTED or _error_status(answer) in NOT_ADMITTED:
        raise request.error(NotAdmittedError, _said(answer) or "the BI refuses the token", code=status)
    if isinstance(answer, dict) and answer.get("result") == "fail":
        cls = ConfigurationError if request.operation == SIGN_IN else UnexpectedResponseError
        raise request.error(cls, _said(answer) or "the BI refuses without saying why", code=_error_status(answer))
    clipped = request.scrubbed(content[: 4 * CLIPPED_CHARACTERS].decode(errors="replace"))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise request.error(
            RateLimitedError, f"HTTP status {status}", answer=clipped, retry_after_seconds=RETRY_SECONDS
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise request.error(TransientError, f"HTTP status {status}", answer=clipped)
    raise request.error(UnexpectedResponseError, f"not an answer of the BI (HTTP status {status})", answer=clipped)


def of_failure(request: Request, failure: Exception) -> IntegrationError:
    """What a failure below HTTP means. Its own texts are left out: they may hold the proxy's password."""
    chain = causes(failure)
    for cause in chain:
        if not isinstance(cause, NotConnectedError):
            continue
        if cause.is_certificate_refused:
            return request.error(ConfigurationError, "the certificate of the BI's address is not trusted")
        if cause.is_bundle_unreadable:
            return request.error(ConfigurationError, "the file of trusted certificates cannot be read")
        if cause.proxy_status:
            cls = ConfigurationError if cause.proxy_status in _PROXY_REFUSES else TransientError
            return request.error(cls, f"the proxy answered {cause.proxy_status}")
        return request.error(TransientError, f"no connection ({cause.cause_name})")
    if isinstance(chain[-1], urllib3.exceptions.LocationParseError):
        return request.error(ConfigurationError, "the address of the BI or its proxy is none")
    return request.error(TransientError, f"no answer ({type(chain[-1]).__name__})")


def _error_status(answer: Any) -> int | None:
    error = answer.get("error") if isinstance(answer, dict) else None
    status = error.get("status") if isinstance(error, dict) else None
    return status if isinstance(status, int) and not isinstance(status, bool) else None


def _said(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else ""
