"""Real workers, a real renderer and a real sandbox: every form arrives once, whichever process is killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from celery import signals
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from integrations.models import Corp
from notifications import tasks
from notifications.delivery.attachments import CHARTS_QUEUE, SECONDS_AT_MOST, file_recipe, produce_medium
from notifications.models import Attempt, Delivery, Medium, MessageForm, Run
from tests.e2e.stack import BIN, Program, Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.notifications.charts.tables import DAYS
from tests.notifications.delivery.attachments.places import CHART, make_delivery, make_medium, make_run
from tests.notifications.factories import NOW
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

USERIDS = ("LiLei", "HanMei")

# The message types of forms whose picture or file is made here.
TYPES = {
    MessageForm.NEWS: "news",
    MessageForm.NEWS_NOTICE: "template_card",
    MessageForm.IMAGE: "image",
    MessageForm.XLSX: "file",
    MessageForm.CSV: "file",
}


def start_charts(stack: Stack, exits: ExitStack, name: str) -> Program:
    command = [str(BIN / "celery"), "-A", "guanwecom", "worker", "-Q", "charts", "-n", f"{name}@%h", "-l", "INFO"]
    command += ["--pool", "prefork", "--autoscale", "1,0", "--max-tasks-per-child", "3", "--without-mingle"]
    program = stack.start(name, command, exits)
    wait_for_log("ready.", program)
    return program


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    """The sandbox with two people; no worker yet."""
    members: list[dict[str, Any]] = [{"userid": userid, "name": userid, "department": [2]} for userid in USERIDS]
    with start_sandbox(seed={"companies": [company(members=members, tags=[])]}) as sandbox:
        yield Stack(env=process_environ, root=project_root, folder=tmp_path, sandbox=sandbox)


@pytest.fixture
def corp(stack: Stack) -> Corp:
    return Corp.objects.create(
        name="北山制造",
        corpid=CORPID,
        agentid=AGENTID,
        secret=SECRET,
        api_base_url=stack.sandbox.base_url,
        is_enabled=True,
    )


def due_now() -> None:
    """Move the rows that the factories wrote to the present: those have fixed dates."""
    now = timezone.now()
    Run.objects.update(claimed_at=now)
    Delivery.objects.update(next_attempt_at=now, expires_at=now + timedelta(hours=1))
    Medium.objects.update(created_at=now, make_after=now)


def test_each_form_arrives_once_though_its_makers_are_killed(stack: Stack, corp: Corp) -> None:
    run, sandbox = make_run(), stack.sandbox
    for form in sorted(TYPES):
        make_delivery(corp, form, run=run)
    due_now()
    with ExitStack() as exits:
        stack.start_worker(exits)
        first = start_charts(stack, exits, "first")
        tasks._make_media(timezone.now())
        eventually(Medium.objects.filter(make_count__gt=0).exists, stack.programs.values())
        for child in psutil.Process(first.process.pid).children():
            child.kill()
        first.kill()
        # Lost pictures are made again when their lease ends; the test ends it early.
        Medium.objects.filter(status="waiting").update(make_after=timezone.now())

        start_charts(stack, exits, "second")
        tasks._make_media(timezone.now())
        eventually(lambda: not Medium.objects.filter(status="waiting").exists(), stack.programs.values())
        tasks._prepare(timezone.now())
        accepted = Delivery.objects.filter(status="accepted")
        eventually(lambda: accepted.count() == len(TYPES), stack.programs.values())

        assert Counter(Medium.objects.values_list("status", flat=True)) == {"ready": Medium.objects.count()}
        assert Attempt.objects.count() == len(TYPES)
        for userid in USERIDS:
            messages = sandbox.messages(CORPID, userid)
            assert Counter(message["msgtype"] for message in messages) == Counter(TYPES.values())
            [image] = [message for message in messages if message["msgtype"] == "image"]
            picture = requests.get(f"{sandbox.base_url}/sandbox/media/{image['image']['media_id']}", timeout=10)
            assert picture.content.startswith(b"\x89PNG")


def test_drawing_processes_end_when_idle_and_begin_with_the_next_picture(stack: Stack, corp: Corp) -> None:
    stack.env["AUTOSCALE_KEEPALIVE"] = "1"
    with ExitStack() as exits:
        worker = start_charts(stack, exits, "charts")
        family = psutil.Process(worker.process.pid)
        assert not family.children()
        for title in ("first", "second"):
            medium = make_delivery(corp, MessageForm.IMAGE, run=make_run(), chart=replace(CHART, title=title)).medium
            assert medium is not None
            made = Medium.objects.filter(pk=medium.pk, status="ready", make_count=1)
            tasks.make_medium.apply_async(([medium.pk],), queue=CHARTS_QUEUE, time_limit=SECONDS_AT_MOST)

            eventually(made.exists, stack.programs.values())
            eventually(lambda: not family.children(), stack.programs.values())


FILE = {"kind": Medium.Kind.XLSX, "recipe": file_recipe([("x", DAYS)], language="zh-hans")}


@pytest.fixture
def limits() -> Iterator[dict[int, int]]:
    """The time limit in seconds of each published task, by the id of its medium."""
    found: dict[int, int] = {}

    def note(body: Any, headers: dict[str, Any], **_kwargs: Any) -> None:
        [[[medium_id]], *_rest] = body
        found[medium_id] = headers["timelimit"][0]

    signals.before_task_publish.connect(note)
    yield found
    signals.before_task_publish.disconnect(note)


@pytest.mark.django_db
def test_files_get_more_time_than_pictures(
    limits: dict[int, int], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    run = make_run()
    picture, file, preview = make_medium(run), make_medium(run, **FILE), make_medium(run, **FILE)
    Medium.objects.filter(pk=preview.pk).update(run=None)

    with django_capture_on_commit_callbacks(execute=True):
        tasks.enqueue_previews([preview.pk])
        tasks._make_media(NOW)

    assert limits == {picture.pk: 30, file.pk: 240, preview.pk: 240}


@pytest.mark.django_db
@pytest.mark.parametrize(("fields", "seconds"), [({"recipe": b"broken"}, 45), (FILE | {"recipe": b"broken"}, 255)])
def test_nobody_else_begins_before_that_time_is_over(fields: dict[str, Any], seconds: int) -> None:
    medium = make_medium(make_run(), **fields)

    with pytest.raises(Exception, match="decompress"):
        produce_medium(medium.pk, clock=lambda: NOW)

    medium.refresh_from_db()
    assert (medium.make_count, medium.make_after - NOW) == (1, timedelta(seconds=seconds))
