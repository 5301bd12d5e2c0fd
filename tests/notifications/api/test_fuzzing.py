"""The API answers any request as its document says, and never with a 500 (schemathesis)."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from integrations.models import Corp
from notifications.api.app import api
from tests.nightly import IS_NIGHTLY
from tests.notifications.api.conftest import HOST, make_editor, make_token
from tests.notifications.factories import make_person, make_report, make_subscription

pytestmark = pytest.mark.django_db


def document() -> dict[str, Any]:
    """Return the API's document without its security schemes: every call sends a valid token."""
    told = api.get_openapi_schema(path_prefix="/api/v1/")
    for operations in told["paths"].values():
        for operation in operations.values():
            operation.pop("security")
    del told["components"]["securitySchemes"]
    return told


schema = schemathesis.openapi.from_dict(document())
schema.app = get_wsgi_application()
OPERATIONS = {found.ok().label: found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)}
# No schema can say whether a recipient exists or bytes are a picture.
DEEPER = {"POST /api/v1/messages", "POST /api/v1/uploads"}


def test_operations_are_named_without_the_modules_they_stand_in() -> None:
    names = [found.definition.raw["operationId"] for found in OPERATIONS.values()]

    assert sorted(names) == [
        *("check_rule", "get_message", "get_run", "list_subscriptions"),
        *("run_subscription", "send_message", "upload_file"),
    ]


@pytest.fixture
def headers(corp: Corp, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Headers of a valid caller. The requests run inside the test's transaction, like those of Django's own client."""
    settings.API_CALLS_PER_TOKEN = 1_000_000
    monkeypatch.setattr("notifications.api.tokens.CALLS_PER_ADDRESS", 1_000_000)
    make_subscription(report=make_report(corp=corp))
    client = make_token(make_editor(corp), may_alert=True, may_send=True, sends_to="everyone")[1]
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield {"Host": HOST["host"], "Authorization": client.defaults["HTTP_AUTHORIZATION"]}
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


# Not schemathesis's own parametrize: with pytest 9.2 it gives all operations one id, and pytest-xdist runs only one.
@pytest.mark.parametrize("label", OPERATIONS)
@settings(max_examples=500 if IS_NIGHTLY else 10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_is_documented(label: str, headers: dict[str, str], data: st.DataObject) -> None:
    """Half of the calls fit the document, half do not."""
    operation = OPERATIONS[label]
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    case = data.draw(st.one_of(good, bad))

    answer = case.call(headers=headers)

    case.validate_response(answer, excluded_checks=[positive_data_acceptance] if label in DEEPER else [])


@pytest.mark.parametrize("media_type", ["application/json", "multipart/form-data"])
def test_what_the_calls_send_reaches_people(media_type: str, headers: dict[str, str], corp: Corp) -> None:
    make_person(corp, "li", username="li")
    message: Any = {"title": "磁盘快满了", "recipients": [{"by": "user", "value": "li"}]}
    body = message if media_type == "application/json" else {"message": message}

    answer = OPERATIONS["POST /api/v1/messages"].Case(body=body, media_type=media_type).call(headers=headers)

    assert (answer.status_code, answer.json()["unknown"]) == (202, [])
