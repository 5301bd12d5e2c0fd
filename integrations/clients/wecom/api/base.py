"""What every group of calls builds on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from integrations.clients.errors import BadRequestError, UnexpectedResponseError
from integrations.clients.wecom.messages.limits import JSON_TYPE, body_bytes
from integrations.clients.wecom.schemas import base

T = TypeVar("T")
Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, without the token. `is_repeatable`: doing it twice does no harm, so an unclear failure may be
    tried again. `is_transfer`: a file goes out or comes in, which gets more time."""

    operation: str
    path: str
    method: str = "GET"
    params: Params | None = None
    body: bytes | None = None
    content_type: str = JSON_TYPE
    is_repeatable: bool = True
    is_transfer: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, before anybody looked at it."""

    status: int
    content: bytes
    content_type: str = ""
    disposition: str = ""


class Calls:
    """Base of the groups of calls; the client says how a call is made."""

    agentid: int | None

    def _call(self, call: Call) -> base.Answer:
        """The fields of an answer with errcode 0."""
        raise NotImplementedError

    def _download(self, call: Call) -> Reply:
        """A file. Raises the error of an answer that is an error instead."""
        raise NotImplementedError

    def _read(self, operation: str, path: str, parse: Callable[[base.Answer], T], params: Params | None = None) -> T:
        return typed(operation, parse, self._call(Call(operation, path, params=params)))

    def _query(self, operation: str, path: str, parse: Callable[[base.Answer], T], question: Mapping[str, Any]) -> T:
        """A call that reads, although it is a POST."""
        return typed(operation, parse, self._write(operation, path, question))

    def _write(
        self,
        operation: str,
        path: str,
        values: Mapping[str, Any],
        *,
        params: Params | None = None,
        is_repeatable: bool = True,
    ) -> base.Answer:
        body = body_bytes(values)
        return self._call(Call(operation, path, "POST", params, body, is_repeatable=is_repeatable))

    def _own_agentid(self, operation: str) -> int:
        if self.agentid is None:
            message = "the directory-sync assistant has no agentid"
            raise BadRequestError(message, system="wecom", operation=operation)
        return self.agentid


def typed(operation: str, parse: Callable[[base.Answer], T], answer: base.Answer) -> T:
    """The answer as `parse` reads it. Raises UnexpectedResponseError where a field is missing."""
    try:
        return parse(answer)
    except base.AnswerError as error:
        message = f"the answer is not complete: {error}"
        raise UnexpectedResponseError(message, system="wecom", operation=operation) from error
