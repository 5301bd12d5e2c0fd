"""Real processes are killed. The health address, the index and mails to operators report it, and its end."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db.models import F
from django.test import Client

from guanwecom.operations.watch import CONFIRMED_AFTER
from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import Heartbeat, Installation
from notifications.models import Run, Subscription
from tests.e2e.stack import BIN, Program, Stack
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.factories import make_subscription, make_superuser
from tests.sandbox_process import start_sandbox

pytestmark = [nightly, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
TOKEN = "invented-token-of-at-least-32-characters"


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    """A stack whose processes write mails into their logs."""
    ours = {"METRICS_TOKEN": TOKEN, "EMAIL_URL": "consolemail://", "OPERATOR_EMAILS": "ops@example.com"}
    with start_sandbox() as sandbox:
        yield Stack(env={**process_environ, **ours}, root=project_root, folder=tmp_path, sandbox=sandbox)


def begin_worker(stack: Stack, exits: ExitStack, name: str) -> Program:
    queues = ["-Q", "urgent,celery,data", "-n", f"{name}@%h"]
    options = ["--pool", "threads", "--concurrency", "4", "--loglevel", "INFO", *queues]
    return stack.start(name, [str(BIN / "celery"), "-A", "guanwecom", "worker", *options], exits)


def engine(stack: Stack) -> tuple[int, dict[str, Any]]:
    url, headers = f"{stack.web_url}/healthz/engine", {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(url, headers=headers, timeout=60)
    return answer.status_code, answer.json()


def problems(stack: Stack) -> tuple[int, list[str]]:
    code, document = engine(stack)
    return code, document["problems"]


def mails(stack: Stack) -> list[str]:
    """Return the texts of the mails, in no order.

    Workers log each mail as an event, other processes write it as it is. A restarted process has a log of the same
    name.
    """
    lines = "".join(path.read_text(errors="replace") for path in stack.folder.glob("*.log")).split("\n")
    written = [json.loads(line)["event"] if line[:1] == "{" and line[-1:] == "}" else line for line in lines]
    texts = "\n".join(written).split("Subject: ")[1:]
    return [part.partition("\n\n")[2].partition("-----")[0] for part in texts]


def count_mails(stack: Stack, words: str) -> int:
    return sum(words in mail for mail in mails(stack))


def let_pass(problems: list[str]) -> None:
    """Wait until the watch has found these problems, and let them have lasted long enough to be told."""
    found = Installation.objects.filter(engine_problems=",".join(sorted(problems)))
    eventually(found.exists)
    found.update(engine_problems_since=F("engine_problems_since") - CONFIRMED_AFTER)


def test_killed_processes_are_told_of_once_and_so_is_the_end(stack: Stack) -> None:
    programs = stack.programs.values()
    with ExitStack() as exits:
        stack.begin_web(exits)
        doomed = [begin_worker(stack, exits, "main"), stack.begin_beat(exits)]
        stack.wait_for_web()
        eventually(lambda: problems(stack) == (200, []), programs)

        for program in doomed:
            program.kill()
        # The heartbeats of the dead grow old at once.
        dead = Heartbeat.objects.exclude(kind=Heartbeat.Kind.WEB)
        dead.update(beat_at=F("beat_at") - timedelta(seconds=STALE_SECONDS))
        stopped = ["beat", "queue:urgent", "queue:celery", "queue:data"]
        eventually(lambda: problems(stack) == (503, stopped), programs)
        subscription = make_subscription(crontab="* * * * *", now=datetime.now(UTC))
        due = Subscription.objects.filter(pk=subscription.pk)
        due.update(next_run_at=datetime.now(UTC) - timedelta(minutes=2))
        eventually(lambda: engine(stack)[1]["overdue"]["count"] == 1, programs)
        assert requests.get(f"{stack.web_url}/healthz/ready", timeout=60).status_code == 200
        client = Client()
        client.force_login(make_superuser())
        text = client.get("/admin/maintenance/").text
        assert "beat 没有运行：定时推送和预警都不会开始。" in text
        assert "systemctl restart guanwecom-beat" in text
        assert text.count("没有 worker 处理队列") == 3
        let_pass(stopped)
        eventually(lambda: count_mails(stack, "没有 worker 处理队列“data”") == 1, programs)
        assert not Run.objects.exists()

        begin_worker(stack, exits, "main-again")
        stack.begin_beat(exits, "beat-again")
        eventually(lambda: problems(stack) == (200, []), programs)
        let_pass([])
        eventually(lambda: count_mails(stack, "beat 和所有队列的 worker 都在运行。") == 1, programs)
        eventually(Run.objects.exists, programs)

    assert count_mails(stack, "没有 worker 处理队列“data”") == 1
    assert count_mails(stack, "beat 和所有队列的 worker 都在运行。") == 1
    assert len(mails(stack)) == 2
