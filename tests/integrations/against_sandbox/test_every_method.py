"""Every public method of both clients succeeds against the sandbox, with exactly the result that the contract gives."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.clients.wecom.client import RobotClient, WeComClient
from tests.integrations.against_sandbox import app_cases, directory_cases, message_cases
from tests.integrations.against_sandbox.cases import CASES, Case
from tests.integrations.against_sandbox.place import Place
from tests.integrations.clients.wecom.contract import public_methods

MODULES = (directory_cases, app_cases, message_cases)


def test_every_public_method_has_a_case() -> None:
    assert set(CASES) == public_methods()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_method(place: Place, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    client = WeComClient if hasattr(WeComClient, case.method) else RobotClient
    original = getattr(client, case.method)

    def noted(*args: Any, **kwargs: Any) -> Any:
        called.append(case.method)
        return original(*args, **kwargs)

    monkeypatch.setattr(client, case.method, noted)
    case.run(place)

    assert called, "the case does not call its method"
    assert set(place.errcodes(case.endpoint)) == {0}
    assert {one["errcode"] for one in place.sandbox.calls()} == {0}
