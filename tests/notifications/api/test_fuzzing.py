"""Whatever is sent, the API answers as its document says, and never with a 500 (schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, settings

from integrations.models import Corp
from notifications.api.site import api
from tests.notifications.api.conftest import HOST, make_editor, make_token
from tests.notifications.factories import make_report, make_subscription

pytestmark = pytest.mark.django_db


def document() -> dict[str, Any]:
    """The API's document without its tokens: each call brings a good one, so none may be left out or made up."""
    told = api.get_openapi_schema(path_prefix="/api/v1/")
    for operations in told["paths"].values():
        for operation in operations.values():
            operation.pop("security")
    del told["components"]["securitySchemes"]
    return told


schema = schemathesis.openapi.from_dict(document())
schema.app = get_wsgi_application()


@pytest.fixture
def headers(corp: Corp, settings: Any) -> Iterator[dict[str, str]]:
    """What a good caller brings. The requests run inside the test's transaction, as those of Django's own client."""
    settings.API_CALLS_PER_TOKEN = settings.API_CALLS_PER_ADDRESS = 1_000_000
    make_subscription(report=make_report(corp=corp))
    client = make_token(make_editor(corp))[1]
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield {"Host": HOST["host"], "Authorization": client.defaults["HTTP_AUTHORIZATION"]}
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case: Any, headers: dict[str, str]) -> None:
    answer = case.call(headers=headers)

    case.validate_response(answer)
