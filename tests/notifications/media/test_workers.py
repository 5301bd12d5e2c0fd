"""Real workers, a real renderer and a real sandbox: every form arrives once, whatever is killed on the way."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from django.utils import timezone

from integrations.models import Corp
from notifications import tasks
from notifications.media.attaching import MEDIA_FORMS
from notifications.models import Attempt, Delivery, Medium, MessageForm
from tests.e2e.stack import BIN, Program, Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.notifications.media.places import make_delivery, make_run
from tests.sandbox import AGENTID, CORPID, SECRET, company, start_sandbox

pytestmark = [pytest.mark.processes, pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

TYPES = {
    MessageForm.NEWS: "news",
    MessageForm.NEWS_NOTICE: "template_card",
    MessageForm.IMAGE: "image",
    MessageForm.XLSX: "file",
    MessageForm.CSV: "file",
}


def start_charts(stack: Stack, exits: ExitStack, name: str) -> Program:
    command = [
        str(BIN / "celery"),
        "-A",
        "guanwecom",
        "worker",
        "-Q",
        "charts",
        "-n",
        f"{name}@%h",
        "--loglevel",
        "INFO",
    ]
    command += ["--pool", "prefork", "--concurrency", "1", "--max-tasks-per-child", "3", "--without-mingle"]
    program = stack.start(name, command, exits)
    wait_for_log("ready.", program)
    return program


def test_each_form_arrives_once_though_its_makers_are_killed(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    members: list[dict[str, Any]] = [
        {"userid": userid, "name": userid, "department": [2]} for userid in ("LiLei", "HanMei")
    ]
    with ExitStack() as exits:
        sandbox = exits.enter_context(start_sandbox(seed={"companies": [company(members=members, tags=[])]}))
        stack = Stack(env=process_environ, root=project_root, folder=tmp_path, sandbox=sandbox)
        corp = Corp.objects.create(
            name="北山制造",
            corpid=CORPID,
            agentid=AGENTID,
            secret=SECRET,
            api_base_url=sandbox.base_url,
            is_enabled=True,
        )
        run, now = make_run(claimed_at=timezone.now()), timezone.now()
        for form in sorted(MEDIA_FORMS):
            make_delivery(corp, form, run=run)
        Delivery.objects.update(next_attempt_at=now, expires_at=now + timedelta(hours=1))
        Medium.objects.update(created_at=now, make_after=now)
        stack.start_worker(exits)
        first = start_charts(stack, exits, "first")
        tasks._make_media(now)
        eventually(Medium.objects.filter(make_count__gt=0).exists, stack.programs.values())
        for child in psutil.Process(first.process.pid).children():
            child.kill()
        first.kill()
        # What was begun and lost comes back as soon as its lease ends: here the test ends it.
        Medium.objects.filter(status="waiting").update(make_after=timezone.now())

        start_charts(stack, exits, "second")
        tasks._make_media(timezone.now())
        eventually(lambda: not Medium.objects.filter(status="waiting").exists(), stack.programs.values())
        tasks._prepare(timezone.now())
        accepted = Delivery.objects.filter(status="accepted")
        eventually(lambda: accepted.count() == len(MEDIA_FORMS), stack.programs.values())

        assert Counter(Medium.objects.values_list("status", flat=True)) == {"ready": Medium.objects.count()}
        assert Attempt.objects.count() == len(MEDIA_FORMS)
        for userid in ("LiLei", "HanMei"):
            messages = sandbox.messages(CORPID, userid)
            assert Counter(message["msgtype"] for message in messages) == Counter(TYPES.values())
            [image] = [message for message in messages if message["msgtype"] == "image"]
            picture = requests.get(f"{sandbox.base_url}/sandbox/media/{image['image']['media_id']}", timeout=10)
            assert picture.content.startswith(b"\x89PNG")
