"""A web process that was just started answers an event with nothing but its storing: the work is queued."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from django.utils import timezone

from integrations.models import CallbackEvent, Corp, EventWork, Member, SyncRun
from tests.e2e.stack import BIN, running, wait_for_http
from tests.integrations.callback_sender import AGENTID, CORPID, Sender, event_xml, with_keys
from tools.services import free_port

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def test_the_first_request_stores_and_queues_and_asks_nobody(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path, valkey_client: Any
) -> None:
    """No worker runs, and at WeCom's address nobody listens: whatever else were done in the request would show."""
    moment = timezone.now()
    now = int(moment.timestamp())
    corp = with_keys(Corp(name="北山制造", secret="s", is_enabled=True, api_base_url=f"http://127.0.0.1:{free_port()}"))
    times = {"first_seen_at": moment, "changed_at": moment}
    Member.objects.create(corp=corp, userid="lilei", userid_folded="lilei", **times)
    SyncRun.objects.create(corp=corp, trigger="manual", source="app", status="done", requested_at=moment)
    sender = Sender(f"/wecom/{corp.pk}/events/")
    query, body = sender.sealed(event_xml(name="unsubscribe", created_at=now, AgentID=AGENTID).replace("sys", "lilei"))
    port = free_port()
    gunicorn = [str(BIN / "gunicorn"), "guanwecom.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", "2"]
    gunicorn += ["--worker-tmp-dir", str(tmp_path)]

    with ExitStack() as exits:
        web = exits.enter_context(running("web", gunicorn, env=process_environ, folder=tmp_path, cwd=project_root))
        wait_for_http(f"http://127.0.0.1:{port}/static/nothing", web)
        answer = requests.post(f"http://127.0.0.1:{port}{sender.path}", params=query, data=body, timeout=60)

    assert (answer.status_code, answer.content) == (200, b"")
    event = CallbackEvent.objects.get()
    assert (event.event, event.userid, event.corp.corpid) == ("unsubscribe", "lilei", CORPID)
    assert set(EventWork.objects.values_list("consumer", "status", "try_count")) == {
        ("integrations.directory", "waiting", 0),
        ("accounts.people", "waiting", 0),
    }
    assert Member.objects.get().presence == Member.Presence.HERE
    assert valkey_client.llen("celery") == 1
