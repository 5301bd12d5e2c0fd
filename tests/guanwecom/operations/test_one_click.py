"""One click, followed through the logs of real processes: from the answer in the browser to the worker's lines."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from django.test import Client

from accounts.models import WeComAccount
from integrations.models import Corp, SiteAddress
from notifications.models import Delivery, Run
from tests.e2e.stack import Program, Stack
from tests.e2e.waiting import eventually
from tests.notifications.factories import make_subscription, make_superuser
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def lines(program: Program) -> list[dict[str, Any]]:
    """What it logged, but a line that is just being written. gunicorn's master process writes some that are no JSON."""
    texts = program.log.read_text(errors="replace").rpartition("\n")[0].splitlines()
    return [json.loads(text) for text in texts if text.startswith("{")]


def click(stack: Stack, path: str) -> requests.Response:
    """Press a button of a page as a superuser who is signed in and has an account of the sandbox's company."""
    person = make_superuser()
    WeComAccount.objects.create(user=person, corp=Corp.objects.get(), userid="LiLei")
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    with requests.Session() as browser:
        browser.cookies.set(settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value)
        browser.cookies.set(settings.CSRF_COOKIE_NAME, token := "a" * 32)
        fields = {"csrfmiddlewaretoken": token, "token": uuid.uuid4().hex, "note": "张三's secret-4711"}
        url = f"{stack.web_url}{path}?q=secret-4711"
        return browser.post(url, data=fields, allow_redirects=False, timeout=60)


def test_the_id_of_a_click_stands_on_the_lines_of_its_call_of_wecom(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    with start_sandbox() as sandbox, ExitStack() as exits:
        stack = Stack(env=process_environ, root=project_root, folder=tmp_path, sandbox=sandbox)
        SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{stack.web_url}/"})
        ways = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), sandbox.base_url)
        Corp.objects.create(name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, is_enabled=True, **ways)
        sandbox.load({"companies": [company()]})
        subscription = make_subscription(crontab="0 9 * * *", now=datetime.now(UTC))
        web, worker = stack.start_web(exits), stack.start_worker(exits)

        answer = click(stack, f"/admin/notifications/subscription/{subscription.pk}/try/")
        assert answer.status_code == 302, answer.text[:500]
        request_id = answer.headers["X-Request-ID"]
        eventually(lambda: Delivery.objects.filter(status=Delivery.Status.ACCEPTED).exists(), [web, worker])
        delivery = Delivery.objects.get()

        def followed(program: Program, *beginnings: str) -> list[dict[str, Any]]:
            found = [line for line in lines(program) if line.get("request_id") == request_id]
            return [line for line in found if line["event"].startswith(beginnings)]

        (ended,) = eventually(lambda: followed(worker, f"delivery={delivery.pk} "), [worker])
        (access,) = followed(web, "request")
        assert (access["path"], access["status"]) == (f"/admin/notifications/subscription/{subscription.pk}/try/", 302)
        ids = {"run_id": Run.objects.get().pk, "delivery_id": delivery.pk, "task": "notifications.send_deliveries"}
        (token,) = followed(worker, "wecom gettoken errcode=0")
        assert {**ended, **ids} == ended
        assert {**token, **ids} == token
    written = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
    secrets = ("secret-4711", SECRET, "access_token=", process_environ["SECRET_KEY"])
    assert [text for text in secrets if text in written] == []
    assert all(line["timestamp"].endswith("+08:00") for program in (web, worker) for line in lines(program))
