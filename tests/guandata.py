"""Answers of the BI for `responses`, from tests/fixtures/guandata. Bodies and headers must match."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import responses
from responses import matchers

FIXTURES = Path(__file__).parent / "fixtures" / "guandata"
HOST = "https://bi.example.com"
PASSWORD = "sim-bi-password-0123"
PASSWORD_BASE64 = "c2ltLWJpLXBhc3N3b3JkLTAxMjM="
APP_TOKEN = "sim-bi-app-token-0123"
TOKEN = "sim-bi-token-1"

ENDPOINTS = {
    "sign_in": ("POST", "/public-api/sign-in"),
    "page_list": ("POST", "/public-api/page/list"),
    "page_cards": ("GET", "/public-api/page/p1"),
    "card_data": ("POST", "/public-api/card/c1/data"),
}


def fixture(name: str) -> dict[str, Any]:
    """Return the answer in tests/fixtures/guandata/<name>.json."""
    return dict(json.loads((FIXTURES / f"{name}.json").read_text()))


class GuandataAnswers:
    """Answers of the BI that a test registers at `wire`, the mock of `responses`."""

    def __init__(self, wire: responses.RequestsMock, host: str = HOST) -> None:
        self.wire = wire
        self._host = host

    def gives(
        self,
        endpoint: str,
        answer: str | dict[str, Any] | bytes | Exception = "",
        *,
        status: int = 200,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Register an answer: the name of a fixture (default: the endpoint), its content, or an exception."""
        method, path = ENDPOINTS[endpoint]
        match: list[Any] = [matchers.json_params_matcher(body)] if body is not None else []
        match += [matchers.header_matcher(headers)] if headers else []
        found = fixture(answer or endpoint) if isinstance(answer, str) else answer
        content = json.dumps(found) if isinstance(found, dict) else found
        self.wire.add(method, self._host + path, body=content, status=status, match=match)

    def calls(self, endpoint: str) -> int:
        """Count the requests to an endpoint."""
        method, path = ENDPOINTS[endpoint]
        return sum(call.request.url == self._host + path and call.request.method == method for call in self.wire.calls)


@contextmanager
def guandata_answers() -> Iterator[GuandataAnswers]:
    with responses.RequestsMock() as wire:
        yield GuandataAnswers(wire)
