"""A call of WeCom's API: the request, the answer, its error, and the reading of its fields.

The module `client` makes the calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import requests

from integrations.clients.errors import (
    ForeignAnswerError,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.transport import Observe, Reply, Route, ignore_call, limit_to_deadline, observe_call
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.builders import JSON_TYPE
from integrations.clients.wecom.tokens import FetchedToken

T = TypeVar("T")
Params = Mapping[str, str | int]
Answer = Mapping[str, Any]

CLIPPED_CHARACTERS = 500
_HINT = re.compile(r"hint: \[([^\]\s]*)\]")
_CALLER_IP = re.compile(r"from ip: ([0-9A-Fa-f.:]+)")
_MORE_INFO = re.compile(r",? *more info at \S+")
_CREDENTIAL = re.compile(r"(access_token|corpsecret|(?<![A-Za-z0-9_])key)=[^&\s\"'<>\\]+")

# Seconds to wait after a refusal. Whoever exceeds a limit per minute is blocked for a minute (document/path/90454); an
# address that sent too many wrong secrets gets no token for an hour.
_WAIT_SECONDS = {errcodes.RATE_LIMITED: 60, errcodes.TOO_MANY_PARALLEL: 5}
_GETTOKEN_WAIT_SECONDS = 3600

API_BASE_URL = "https://qyapi.weixin.qq.com"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time-outs in seconds. `connect_seconds`: for each address of the host. `total_seconds`: for a whole call, from
    waiting for a token to the last byte of the answer, including a repeat with another token; `transfer_seconds`: for
    a call with a file. They do not bound the name look-up (see `transport`), so a lease must last longer."""

    connect_seconds: float = 5.0
    total_seconds: float = 15.0
    transfer_seconds: float = 60.0


_LEAST_TIME_SHARE = 0.25  # the part of a call's time limit that must be left when its request is sent


@dataclass(frozen=True, slots=True)
class Call:
    """A call, without the token. `path`: below /cgi-bin/. `is_repeatable`: repeating it does no harm, so an unclear
    failure may be tried again. `is_transfer`: a file is sent, which gets more time. No error shows its `secrets`."""

    path: str
    method: str = "GET"
    params: Params = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON_TYPE
    is_repeatable: bool = True
    is_transfer: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def operation(self) -> str:
        """The name of the call in errors and metrics, such as user_get."""
        return self.path.replace("/", "_")

    def remove_secrets(self, text: str) -> str:
        """Return `text` without our secrets: a proxy's error page may print the address with the secret."""
        for secret in self.secrets:
            for spelling in {secret, quote(secret, safe="")} - {""}:
                text = text.replace(spelling, "***")
        return _CREDENTIAL.sub(r"\1=***", text)

    def clip(self, content: bytes) -> str:
        """Return the beginning of an answer without our secrets."""
        # The secrets are removed before clipping, because half of one would not be recognised.
        return self.remove_secrets(content[: 64 * 1024].decode(errors="replace"))[:CLIPPED_CHARACTERS]

    def make_unclear_error(self, cls: type[IntegrationError], message: str, **known: Any) -> IntegrationError:
        """Make an error for a call that may have been done: of `cls` if it is repeatable, else OutcomeUnknownError."""
        cls = cls if self.is_repeatable else OutcomeUnknownError
        return cls(message, system="wecom", operation=self.operation, **known)


class Wire:
    """A client's connection to WeCom: it sends single calls and reads their answers. The caller adds the token.

    `session`: from `open_session`, may be shared by clients and threads. `proxy`: an address, empty for none.
    `ca_bundle`: path of a file of certificates to trust instead of the usual ones.
    """

    def __init__(
        self,
        *,
        session: requests.Session,
        base_url: str = API_BASE_URL,
        timeouts: Timeouts = Timeouts(),
        proxy: str | None = None,
        ca_bundle: str | None = None,
        observe: Observe = ignore_call,
    ) -> None:
        self._base_url, self._timeouts, self._observe = base_url.rstrip("/"), timeouts, observe
        self._route = Route(
            session, system="wecom", connect_seconds=timeouts.connect_seconds, proxy=proxy, ca_bundle=ca_bundle
        )

    def find_time_limit(self, call: Call) -> float:
        """Return how long the whole call may take."""
        return self._timeouts.transfer_seconds if call.is_transfer else self._timeouts.total_seconds

    def send_call(self, call: Call, credentials: Params) -> Answer:
        """Send `call` with `credentials` in its query, and return the fields of an answer with errcode 0."""
        seconds = self.find_time_limit(call)
        with observe_call(self._observe, call.operation):
            if limit_to_deadline(seconds) < seconds * _LEAST_TIME_SHARE:
                # Nothing is sent: after a time-out nobody would know whether WeCom did it.
                raise TransientError("no time was left to send", system="wecom", operation=call.operation)
            query = urlencode({**credentials, **call.params}, quote_via=quote, safe="")
            reply = self._route.exchange(
                call.operation,
                call.method,
                f"{self._base_url}/cgi-bin/{call.path}?{query}",
                seconds=seconds,
                is_repeatable=call.is_repeatable,
                body=call.body,
                headers={} if call.body is None else {"Content-Type": call.content_type},
            )
            return read_answer(call, reply)


# --- From an answer to its fields, or its error -----------------------------------------------------------------------


def read_answer(call: Call, reply: Reply) -> Answer:
    """Return the fields of an answer whose errcode is 0 or absent.

    Raises the class of the error code (`errcodes`) for any other errcode. If it is no answer of WeCom's API, raises
    TransientError (HTTP 429 or 5xx) or ForeignAnswerError. In that case, and for the code BUSY, a call that is not
    repeatable raises OutcomeUnknownError instead.
    """
    status, message = reply.status, f"HTTP status {reply.status}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise call.make_unclear_error(TransientError, message, answer=call.clip(reply.content))
    if status == HTTPStatus.OK:
        try:
            answer = json.loads(reply.content)
        except (ValueError, RecursionError):
            answer = None
        code = answer.get("errcode", errcodes.OK) if isinstance(answer, dict) else None
        if type(code) is int and code != errcodes.OK:
            raise _make_code_error(call, code, answer, reply.content)
        if type(code) is int:
            fields: Answer = answer
            return fields
        message = "errcode is not a number" if isinstance(answer, dict) else "the answer is not a JSON object"
    raise call.make_unclear_error(ForeignAnswerError, message, answer=call.clip(reply.content))


def _make_code_error(call: Call, code: int, answer: Answer, content: bytes) -> IntegrationError:
    errmsg = read_optional_text(answer, "errmsg")
    hint, caller_ip = _HINT.search(errmsg), _CALLER_IP.search(errmsg)
    known: dict[str, Any] = {
        "code": code,
        "hint": hint[1] if hint else "",
        "caller_ip": caller_ip[1] if caller_ip else "",
        "answer": call.clip(content),
    }
    # Hint, address and link are stored in fields of their own.
    short = _CALLER_IP.sub("", _HINT.sub("", _MORE_INFO.sub("", errmsg)))
    message = call.remove_secrets(short.strip(" ,")[:CLIPPED_CHARACTERS] or "no text")
    if code == errcodes.BUSY:
        return call.make_unclear_error(TransientError, message, **known)
    cls = errcodes.find_error_class(code)
    known |= {"system": "wecom", "operation": call.operation}
    if issubclass(cls, RateLimitedError):
        is_block = call.operation == "gettoken" and code == errcodes.RATE_LIMITED
        wait = _GETTOKEN_WAIT_SECONDS if is_block else _WAIT_SECONDS.get(code, 60)
        return RateLimitedError(message, retry_after_seconds=wait, **known)
    if issubclass(cls, RecipientError):
        invalid, unlicensed = read_joined_ids(answer, "invaliduser"), read_joined_ids(answer, "unlicenseduser")
        return RecipientError(message, invalid_userids=invalid, unlicensed_userids=unlicensed, **known)
    return cls(message, **known)


# --- Reading fields. Each `parse_…` function of `contacts` and `client` reads one answer ---------------------------


class AnswerError(ValueError):
    """A field that must be there is missing or of another kind."""


def read_text(answer: Answer, name: str) -> str:
    """Return a required, non-empty text. Raises AnswerError."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerError(f"{name} is missing")
    return value


def read_optional_text(answer: Answer, name: str) -> str:
    """Return a text, empty if missing. WeCom also gives numbers where the documentation says text."""
    value = answer.get(name)
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def read_integer(answer: Answer, name: str) -> int:
    """Return a required whole number, which may come as text. Raises AnswerError."""
    value = read_optional_integer(answer, name)
    if value is None:
        raise AnswerError(f"{name} is not a whole number")
    return value


def read_optional_integer(answer: Answer, name: str) -> int | None:
    """Return a whole number, which may come as text; None if it is missing or something else."""
    value = answer.get(name)
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_texts(answer: Answer, name: str, *, required: bool = False) -> tuple[str, ...]:
    """Return a list of texts; numbers become texts, anything else is left out. Raises AnswerError if it is required
    and there is no list."""
    value = answer.get(name)
    if not isinstance(value, list):
        if required:
            raise AnswerError(f"{name} is missing")
        return ()
    # Compared by type, which excludes bool and is fast: a synchronisation does it a hundred thousand times.
    return tuple([str(item) for item in value if type(item) in (str, int)])


def read_integers(answer: Answer, name: str) -> tuple[int, ...]:
    """Return a list of whole numbers; anything else is left out."""
    value = answer.get(name)
    if not isinstance(value, list):
        return ()
    return tuple([item for item in value if type(item) is int])


def read_objects(answer: Answer, name: str, *, required: bool = False) -> tuple[Answer, ...]:
    """Return a list of objects; empty if it is optional and missing. Raises AnswerError for anything else."""
    value = answer.get(name)
    if value is None and not required:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise AnswerError(f"{name} is not a list of objects")
    return tuple(value)


def read_child(answer: Answer, name: str) -> Answer:
    """Return an object inside the answer; empty if it is missing."""
    value = answer.get(name)
    return value if isinstance(value, dict) else {}


def read_joined_ids(answer: Answer, name: str) -> tuple[str, ...]:
    """Return ids joined by "|" (message/send) or given as a list (update_template_card)."""
    value = answer.get(name)
    if isinstance(value, list):
        return read_texts(answer, name)
    return tuple(part.strip() for part in read_optional_text(answer, name).split("|") if part.strip())


def read_token(answer: Answer, name: str) -> FetchedToken:
    """Return a token or ticket with its lifetime in seconds. Raises AnswerError if either is missing."""
    expires_in = read_integer(answer, "expires_in")
    if expires_in <= 0:
        raise AnswerError("expires_in is not positive")
    return FetchedToken(read_text(answer, name), expires_in)


def parse_answer(operation: str, parse: Callable[[Answer], T], answer: Answer) -> T:
    """Parse the answer. Raises UnexpectedResponseError if a field is missing."""
    try:
        return parse(answer)
    except AnswerError as error:
        message = f"the answer is not complete: {error}"
        raise UnexpectedResponseError(message, system="wecom", operation=operation) from error
