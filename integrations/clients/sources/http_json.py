"""Read JSON over HTTP as a Table, and post to addresses that users chose: limited in target, size and time."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from integrations.clients import expressions
from integrations.clients.expressions import ExpressionMismatchError, ExpressionTooCostlyError
from integrations.clients.network import parse_http_date
from integrations.clients.sources.addresses import (
    AddressForbiddenError,
    AllowedNetwork,
    GuardedAdapter,
    explain_connection_failure,
)
from integrations.clients.transport import (
    FAILURES,
    AnswerTooLongError,
    NotConnectedError,
    Route,
    list_causes,
    open_session,
    read_content,
    total_deadline,
)
from integrations.data import Problem, SourceError
from integrations.data.table import Table
from integrations.data.table_builder import ColumnChoices, build_table

ANSWER_BYTES_AT_MOST = 16 * 1024 * 1024
REDIRECTS_AT_MOST = 3
CONNECT_SECONDS = 5.0
# Values in the answer's JSON; each takes some hundred bytes of memory.
VALUES_AT_MOST = 3_000_000
COLUMNS_AT_MOST = 500
_PORTS = {"http": 80, "https": 443}
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# One character more than a cell of a table may have, so that the table marks the text as cut.
_CELL_CHARACTERS = 20_001
_NESTED_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class JsonRequest:
    """A request for JSON. `url`: complete. `body`: sent as JSON with POST. `ca_bundle`: a path. An empty `expression`
    takes the whole answer. `accept`: the accepted types. `bytes_at_most`: of the answer, decompressed."""

    url: str = field(repr=False)
    method: str = "GET"
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    expression: str = ""
    allowed_network: AllowedNetwork = AllowedNetwork.PUBLIC
    ca_bundle: str = ""
    choices: ColumnChoices = field(default_factory=ColumnChoices)
    accept: str = "application/json"
    bytes_at_most: int = ANSWER_BYTES_AT_MOST


def read_json(request: JsonRequest, *, rows_at_most: int, seconds: float, now: datetime) -> Table:
    """Return the first `rows_at_most` rows, within `seconds` in total. Raises SourceError.

    The answer's Last-Modified is the time of the data, unless the request's `choices` name a column for it.
    """
    began = time.monotonic()
    answer = _fetch(request, seconds)
    value = _parse_json(answer.content)
    what = ""
    if request.expression:
        try:
            left = max(1.0, seconds - (time.monotonic() - began))
            value = expressions.evaluate_expression(request.expression, value, seconds=left)
        except ExpressionTooCostlyError:
            what = "memory"
        except ExpressionMismatchError:
            what = "expression"
    if what:
        raise SourceError(Problem.EXPRESSION, what=what)
    names, rows = _read_rows(value, rows_at_most)
    if not rows and not names:
        # An empty list names no columns: use the last known ones and those that `choices` name.
        last = [column.name for column in request.choices.load_last_columns()]
        names = list(dict.fromkeys([*last, *request.choices.kinds, *request.choices.units]))
    if not names:
        return Table((), (), now, is_fetch_time=True)
    return build_table(
        names,
        rows[:rows_at_most],
        fetched_at=now,
        source_as_of=answer.modified_at,
        is_cut=len(rows) > rows_at_most,
        choices=request.choices,
    )


def fetch_file(url: str, *, allowed_network: AllowedNetwork, seconds: float, bytes_at_most: int) -> bytes:
    """Return the content of an address, within `seconds`. Raises SourceError, also for a web page."""
    return _fetch(
        JsonRequest(url, allowed_network=allowed_network, accept="*/*", bytes_at_most=bytes_at_most), seconds
    ).content


# --- Requests ---------------------------------------------------------------------------------------------------------


class _Answer(NamedTuple):
    """The content of an answer, and its Last-Modified."""

    content: bytes
    modified_at: datetime | None


def _fetch(request: JsonRequest, seconds: float) -> _Answer:
    """Return the answer. Follow redirects within the same origin only, because our headers may hold credentials. Raises
    SourceError."""
    failure: SourceError | None = None
    url = request.url
    if request.ca_bundle and not Path(request.ca_bundle).is_file():  # requests would report no connection
        raise SourceError(Problem.CERTIFICATE)
    try:
        with total_deadline(seconds), open_session(adapter=GuardedAdapter(request.allowed_network)) as session:
            route = Route(session, system="source", connect_seconds=CONNECT_SECONDS, ca_bundle=request.ca_bundle)
            for _hop in range(REDIRECTS_AT_MOST + 1):
                answer = _send_request(route, request, url)
                if not isinstance(answer, str):
                    return answer
                url = answer
    except AnswerTooLongError:
        failure = SourceError(Problem.TOO_BIG, megabytes=request.bytes_at_most // 2**20)
    except FAILURES as error:
        failure = explain_http_failure(error, seconds)
    # Raised outside the block: inside, its __context__ would be the first error, whose text holds the address.
    raise failure or SourceError(Problem.REDIRECTED)


def _send_request(route: Route, request: JsonRequest, url: str) -> _Answer | str:
    """Return the answer, or the address of a redirect to the same origin."""
    headers, body = {"Accept": request.accept}, None
    if request.method == "POST":
        body, headers["Content-Type"] = json.dumps(request.body, ensure_ascii=False).encode(), "application/json"
    headers |= request.headers
    with route.open(request.method, url, body=body, headers=headers) as response:
        if response.status_code in _REDIRECTS:
            target: str = urljoin(url, response.headers.get("Location", url))
            keeps_method = request.method == "GET" or response.status_code in (307, 308)
            if target == url or _find_origin(target) != _find_origin(url) or not keeps_method:
                raise SourceError(Problem.REDIRECTED)
            return target
        check_status(response.status_code)
        if "html" in response.headers.get("Content-Type", "").lower():
            raise SourceError(Problem.NOT_UNDERSTOOD, what="web-page")
        if response.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
            raise SourceError(Problem.NOT_UNDERSTOOD, what="encoding")
        content = read_content(response, request.bytes_at_most)
        return _Answer(content, parse_http_date(response.headers.get("Last-Modified", "")))


def _find_origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


_PROBLEMS = {
    **dict.fromkeys((401, 403, 407), Problem.CREDENTIALS_REFUSED),
    **dict.fromkeys((404, 410), Problem.NOT_FOUND),
    429: Problem.BUSY,
}


def check_status(status: int) -> None:
    """Raise SourceError for a status that is not 2xx."""
    if status in _PROBLEMS:
        raise SourceError(_PROBLEMS[status])
    if status >= 500:
        raise SourceError(Problem.BROKEN, status=status)
    if not 200 <= status < 300:
        raise SourceError(Problem.REFUSED, code=status)


def explain_http_failure(error: Exception, seconds: float) -> SourceError:
    """Return why a call over HTTP failed, without its address."""
    chain = list_causes(error)
    is_not_connected = any(isinstance(cause, NotConnectedError) for cause in chain)
    for cause in chain:
        if isinstance(cause, AddressForbiddenError):
            return SourceError(cause.problem)
        if isinstance(cause, NotConnectedError) and (cause.certificate_problem or cause.is_bundle_unreadable):
            return SourceError(Problem.CERTIFICATE)
        if isinstance(cause, TimeoutError) and not is_not_connected:
            return SourceError(Problem.TOO_SLOW, seconds=round(seconds), silent=1)  # only superusers read why
        if isinstance(cause, zlib.error):
            return SourceError(Problem.NOT_UNDERSTOOD, what="encoding")
    return explain_connection_failure(chain[-1])


# --- From JSON to rows ------------------------------------------------------------------------------------------------


def _parse_json(content: bytes) -> Any:
    """Parse the answer; NaN and infinity, which are not JSON, become None. Raises SourceError."""
    if content.count(b",") + content.count(b"[") + content.count(b"{") > VALUES_AT_MOST:
        raise SourceError(Problem.TOO_BIG, megabytes=ANSWER_BYTES_AT_MOST // 2**20)
    what = "not-json"
    try:
        text = content.decode("utf-8-sig")
        if text.strip():
            return json.loads(text, parse_constant=lambda _name: None)
        what = "empty"
    except UnicodeDecodeError:
        what = "encoding"
    except RecursionError:
        what = "deep"
    except ValueError:
        pass
    # Raised outside the block: inside, its __context__ would be the first error, which holds the answer.
    raise SourceError(Problem.NOT_UNDERSTOOD, what=what)


def _read_rows(value: Any, rows_at_most: int) -> tuple[list[str], list[list[Any]]]:
    """Return names and rows. Objects give a column for each key, lists and plain values give numbered columns, and
    `{columns: …, rows: …}` names its columns. One row more than `rows_at_most` shows that there are more.
    """
    if value is None:
        raise SourceError(Problem.EXPRESSION, what="nothing")
    if isinstance(value, dict) and set(value) == {"columns", "rows"} and isinstance(value["columns"], list):
        columns, rows = value["columns"][: COLUMNS_AT_MOST + 1], value["rows"]
        if not isinstance(rows, list) or not all(isinstance(row, dict | list) for row in rows[: rows_at_most + 1]):
            raise SourceError(Problem.NOT_UNDERSTOOD, what="rows")
        names = [str(_clip_cell(name)) if name is not None else "" for name in columns]
        rows = [
            [row.get(name) for name in names] if isinstance(row, dict) else row[: len(names) + 1]
            for row in rows[: rows_at_most + 1]
        ]
    else:
        rows = value if isinstance(value, list) else [value]
        rows = rows[: rows_at_most + 1]
        if all(isinstance(row, dict) for row in rows):
            names = list(dict.fromkeys(name for row in rows for name in row))[: COLUMNS_AT_MOST + 1]
            rows = [[row.get(name) for name in names] for row in rows]
        else:
            lists = [row if isinstance(row, list) else [row] for row in rows]
            width = min(max(len(row) for row in lists), COLUMNS_AT_MOST + 1)
            names, rows = [""] * width, [[*row[:width], *([None] * (width - len(row)))] for row in lists]
    return [str(_clip_cell(name)) for name in names], [[_clip_cell(cell) for cell in row] for row in rows]


def _clip_cell(value: Any) -> Any:
    """Cut a long text, and the JSON of a list or object: an expression may have repeated an inner list many times."""
    if isinstance(value, str):
        return value[:_CELL_CHARACTERS]
    if not isinstance(value, dict | list):
        return value
    text = ""
    for piece in _NESTED_ENCODER.iterencode(value):
        text += piece
        if len(text) > _CELL_CHARACTERS:
            break
    return text[:_CELL_CHARACTERS]


# --- Posting: without redirects and proxies ---------------------------------------------------------------------------


def post_json(
    url: str, body: bytes, *, headers: Mapping[str, str], allowed_network: AllowedNetwork, seconds: float
) -> None:
    """POST JSON to `url`, within `seconds` in total. Raises SourceError unless the status is 2xx. Reads no body."""
    failure: SourceError | None = None
    headers = {"Content-Type": "application/json", **headers}
    try:
        with total_deadline(seconds), open_session(adapter=GuardedAdapter(allowed_network)) as session:
            route = Route(session, system="source", connect_seconds=CONNECT_SECONDS)
            with route.open("POST", url, body=body, headers=headers) as response:
                if 300 <= response.status_code < 400:
                    raise SourceError(Problem.REDIRECTED)
                check_status(response.status_code)
    except FAILURES as error:
        failure = explain_http_failure(error, seconds)
    if failure is not None:
        # Raised outside the block: inside, its __context__ would be the first error, whose text holds the address.
        raise failure
