"""A click in the logs of real processes, from the answer in the browser to the worker's lines."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from django.conf import settings
from django.test import Client

from accounts.models import WeComAccount
from notifications.models import Delivery, Run
from tests.e2e.phones import connected
from tests.e2e.stack import Program, Stack
from tests.e2e.waiting import eventually
from tests.notifications.factories import make_subscription, make_superuser
from tests.sandbox_process import SECRET

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def lines(program: Program) -> list[dict[str, Any]]:
    """Return the logged lines, without an incomplete last one and the master process's lines that are not JSON."""
    texts = program.log.read_text(errors="replace").rpartition("\n")[0].splitlines()
    return [json.loads(text) for text in texts if text.startswith("{")]


def click(stack: Stack, path: str) -> requests.Response:
    """Press a button of a page as a superuser who is signed in and has an account of the company."""
    person = make_superuser()
    WeComAccount.objects.create(user=person, corp=connected(stack), userid="LiLei")
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    with requests.Session() as browser:
        browser.cookies.set(settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value)
        browser.cookies.set(settings.CSRF_COOKIE_NAME, token := "a" * 32)
        fields = {"csrfmiddlewaretoken": token, "token": uuid.uuid4().hex, "note": "张三's secret-4711"}
        url = f"{stack.web_url}{path}?q=secret-4711"
        return browser.post(url, data=fields, allow_redirects=False, timeout=60)


def test_the_id_of_a_click_stands_on_the_lines_of_its_call_of_wecom(stack: Stack) -> None:
    web, worker = stack.programs["web"], stack.programs["worker"]
    push = make_subscription(next_run_at=datetime.now(UTC) + timedelta(days=1))
    path = f"/admin/notifications/subscription/{push.pk}/try/"

    answer = click(stack, path)
    assert answer.status_code == 302, answer.text[:500]
    request_id = answer.headers["X-Request-ID"]
    eventually(Delivery.objects.filter(status=Delivery.Status.ACCEPTED).exists, [web, worker])
    delivery = Delivery.objects.get()

    def followed(program: Program, beginning: str) -> list[dict[str, Any]]:
        found = [line for line in lines(program) if line.get("request_id") == request_id]
        return [line for line in found if line["event"].startswith(beginning)]

    (ended,) = eventually(lambda: followed(worker, f"delivery={delivery.pk} "), [worker])
    (access,) = followed(web, "request")
    assert (access["path"], access["status"]) == (path, 302)
    ids = {"run_id": Run.objects.get().pk, "delivery_id": delivery.pk, "task": "notifications.send_deliveries"}
    assert {**ended, **ids} == ended
    (token,) = followed(worker, "wecom gettoken errcode=0")
    assert {**token, **ids} == token
    written = web.log.read_text(errors="replace") + worker.log.read_text(errors="replace")
    secrets = ("secret-4711", SECRET, "access_token=", stack.env["SECRET_KEY"])
    assert [text for text in secrets if text in written] == []
    assert all(line["timestamp"].endswith("+08:00") for program in (web, worker) for line in lines(program))
