"""Sentry reports: errors and where they were raised, but no address, header, body or secret."""

import gzip
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guanwecom import environment
from tests.http_server import QuietHandler, serve_with_handler
from tests.notifications.wecom_stub import WeComStub
from tests.programs import run_program

pytestmark = pytest.mark.django_db(transaction=True)
# A process that fails in a view, in a log line and in a task, each with personal data, and calls WeCom.
PROGRAM = """
import logging, os, sys
from django.urls import path
os.environ["DJANGO_SETTINGS_MODULE"] = "guanwecom.settings"
from guanwecom import celery
from guanwecom.operations import startup
startup.set_up_process()
from guanwecom import urls

def boom(request, token):
    secret = "local-4711"
    raise ValueError("words-4711 of somebody")

urls.urlpatterns.insert(0, path("boom/<str:token>/", boom, name="boom"))

@celery.app.task(name="failing")
def failing(name):
    raise KeyError("words-4711")

from django.test import Client
client = Client(raise_request_exception=False)
client.cookies["sessionid"] = "cookie-4711"
client.post("/boom/path-4711/?q=query-4711", {"name": "body-4711"}, headers={"x-api-key": "header-4711"})
logging.getLogger("guanwecom.test").error("sent to %s", "argument-4711")
celery.app.conf.task_always_eager = True
failing.delay("argument-4711")
from integrations.core import client_factory
from integrations.clients.wecom.builders import encode_body
from integrations.clients.wecom.builders import build_robot_text
client_factory.make_operator_robot_client().webhook_send(encode_body(build_robot_text("body-4711")))
sys.modules["sentry_sdk"].flush(10)
"""
SECRET_VARIABLES = ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "DATABASE_URL", "VALKEY_URL", "OPERATOR_ROBOT_URL")


@contextmanager
def collecting() -> Iterator[tuple[int, list[bytes]]]:
    """Receive what is sent to SENTRY_DSN. Yield the port, and the list of bodies."""
    received: list[bytes] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            received.append(gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    with serve_with_handler(Handler) as port:
        yield port, received


def test_events_hold_no_address_header_body_or_secret(
    process_environ: dict[str, str], project_root: Path, wire: WeComStub
) -> None:
    env = {**process_environ, "OPERATOR_ROBOT_URL": f"{wire.url}/cgi-bin/webhook/send?key=robot-4711"}
    with collecting() as (port, received):
        env["SENTRY_DSN"] = f"http://publickey@127.0.0.1:{port}/1"
        done = run_program([sys.executable, "-c", PROGRAM], env=env, cwd=project_root)
        assert done.returncode == 0, done.stderr[-3000:]

    events = [json.loads(line) for body in received for line in body.splitlines() if b'"level"' in line]
    kinds = [value["type"] for event in events for value in event.get("exception", {}).get("values", [])]
    assert {"ValueError", "KeyError"} <= set(kinds)
    assert not [event for event in events if event.get("request") or event.get("user")]
    sent = b"".join(received)
    texts = [env[name] for name in SECRET_VARIABLES if env.get(name)]
    assert [text for text in texts if text.encode() in sent] == []
    # Source lines of the failing program are no personal data.
    sent = re.sub(rb'"(pre_context|context_line|post_context)": ?(\[.*?\]|".*?")', b"", sent)
    assert set(re.findall(rb"\w+-4711", sent)) == {b"words-4711", b"argument-4711"}


def test_without_the_setting_nothing_is_imported() -> None:
    assert "sentry_sdk" not in sys.modules


def test_what_is_asked_for_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = "https://publickey@sentry.example.com/1"
    assert environment.check_sentry_dsn(dsn) == dsn

    monkeypatch.setattr(environment, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match="sentry-sdk"):
        environment.check_sentry_dsn(dsn)
    assert environment.check_sentry_dsn("") == ""
