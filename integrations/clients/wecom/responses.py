"""Parses WeCom's responses; raises the error class that says what the caller should do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from integrations.clients.errors import (
    ForeignAnswerError,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    RecipientError,
    TransientError,
)
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.api.base import Reply
from integrations.clients.wecom.schemas.base import joined

CLIPPED_CHARACTERS = 500
_HINT = re.compile(r"hint: \[([^\]\s]*)\]")
_CALLER_IP = re.compile(r"from ip: ([0-9A-Fa-f.:]+)")
_MORE_INFO = re.compile(r",? *more info at \S+")
_CREDENTIAL = re.compile(r"(access_token|corpsecret|(?<![A-Za-z0-9_])key)=[^&\s\"'<>\\]+")

# Seconds to wait after a refusal. A minute rule blocks for a minute (document/path/90454); gettoken refuses an
# address that sent too many wrong secrets for an hour.
_WAIT_SECONDS = {errcodes.RATE_LIMITED: 60, errcodes.TOO_MANY_PARALLEL: 5}
_GETTOKEN_WAIT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, as far as reading the answer needs it. `secrets` never appear in an error."""

    operation: str
    is_repeatable: bool
    secrets: tuple[str, ...] = field(repr=False)

    def scrubbed(self, text: str) -> str:
        """`text` without our secrets: a proxy's error page may print the address, and the secret with it."""
        for secret in self.secrets:
            for spelling in {secret, quote(secret, safe="")} - {""}:
                text = text.replace(spelling, "***")
        return _CREDENTIAL.sub(r"\1=***", text)

    def unclear(self, message: str, **known: Any) -> IntegrationError:
        """It may or may not have been done: try again where that is safe, else never blindly."""
        cls = TransientError if self.is_repeatable else OutcomeUnknownError
        return cls(message, system="wecom", operation=self.operation, **known)

    def foreign(self, message: str, **known: Any) -> IntegrationError:
        """Not an answer of WeCom. Where a repeat is not safe, it is unclear whether WeCom saw the request."""
        cls = ForeignAnswerError if self.is_repeatable else OutcomeUnknownError
        return cls(message, system="wecom", operation=self.operation, **known)


def file_of(request: Request, reply: Reply) -> Reply:
    """A file as it came. Told by the header: errors have status 200, too, and a file may itself be JSON."""
    if reply.status == HTTPStatus.OK and reply.disposition:
        return reply
    answer_of(request, reply)
    raise request.foreign("neither a file nor an error", answer=_clipped(request, reply.content))


def answer_of(request: Request, reply: Reply) -> Mapping[str, Any]:
    """The fields of an answer whose errcode is 0 or absent. Raises the error of anything else."""
    status, content = reply.status, reply.content
    if status != HTTPStatus.OK:
        raise _of_status(request, status, content)
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise request.foreign("the answer is not a JSON object", answer=_clipped(request, content))
    code = answer.get("errcode", errcodes.OK)
    if isinstance(code, bool) or not isinstance(code, int):
        raise request.foreign("errcode is not a number", answer=_clipped(request, content))
    if code != errcodes.OK:
        raise _of_code(request, code, answer, content)
    return answer


def _of_status(request: Request, status: int, content: bytes) -> IntegrationError:
    message, clipped = f"HTTP status {status}", _clipped(request, content)
    passes_by_itself = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
    if passes_by_itself:
        return request.unclear(message, answer=clipped)
    return request.foreign(message, answer=clipped)


def _of_code(request: Request, code: int, answer: Mapping[str, Any], content: bytes) -> IntegrationError:
    errmsg = answer.get("errmsg")
    errmsg = errmsg if isinstance(errmsg, str) else ""
    hint, caller_ip = _HINT.search(errmsg), _CALLER_IP.search(errmsg)
    known: dict[str, Any] = {
        "code": code,
        "hint": hint[1] if hint else "",
        "caller_ip": caller_ip[1] if caller_ip else "",
        "answer": _clipped(request, content),
    }
    message = request.scrubbed(_said(errmsg))
    if code == errcodes.BUSY:
        return request.unclear(message, **known)
    cls = errcodes.error_class(code)
    known |= {"system": "wecom", "operation": request.operation}
    if issubclass(cls, RateLimitedError):
        wait = _GETTOKEN_WAIT_SECONDS if _is_gettoken_block(request, code) else _WAIT_SECONDS.get(code, 60)
        return RateLimitedError(message, retry_after_seconds=wait, **known)
    if issubclass(cls, RecipientError):
        return RecipientError(message, **_named(answer), **known)
    return cls(message, **known)


def _is_gettoken_block(request: Request, code: int) -> bool:
    return request.operation == "gettoken" and code == errcodes.RATE_LIMITED


def _named(answer: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        "invalid_userids": joined(answer, "invaliduser"),
        "invalid_parties": joined(answer, "invalidparty"),
        "invalid_tags": joined(answer, "invalidtag"),
        "unlicensed_userids": joined(answer, "unlicenseduser"),
    }


def _said(errmsg: str) -> str:
    """The short text of an errmsg, without hint, address and link, which have places of their own."""
    short = _MORE_INFO.sub("", errmsg)
    for pattern in (_HINT, _CALLER_IP):
        short = pattern.sub("", short)
    return short.strip(" ,")[:CLIPPED_CHARACTERS] or "no text"


def _clipped(request: Request, content: bytes) -> str:
    # Scrubbed before it is clipped: a cut secret would not be recognised.
    shown = request.scrubbed(content[: 64 * 1024].decode(errors="replace"))
    return shown[:CLIPPED_CHARACTERS]
