"""Real workers, a real renderer and a real sandbox: every form arrives once, whatever is killed on the way."""

from __future__ import annotations

import html
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from django.db import connection
from django.utils import timezone

from integrations.data.table import Column, Kind, Table, Value
from integrations.models import Corp
from integrations.models.datasources import ROWS_AT_MOST
from notifications import tasks
from notifications.delivery.attachments import (
    CHARTS_QUEUE,
    FILE_SECONDS_AT_MOST,
    SECONDS_AT_MOST,
    TRIES_AT_MOST,
    file_recipe,
    hand_out_media,
)
from notifications.models import Attempt, Delivery, Medium, MessageForm, Run
from tests.e2e.stack import BIN, Program, Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.notifications.charts.tables import ENDLESS
from tests.notifications.delivery.attachments.places import CHART, make_delivery, make_medium, make_run
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

USERIDS = ("LiLei", "HanMei")
# Of the forms whose picture or file is made here.
TYPES = {
    MessageForm.NEWS: "news",
    MessageForm.NEWS_NOTICE: "template_card",
    MessageForm.IMAGE: "image",
    MessageForm.XLSX: "file",
    MessageForm.CSV: "file",
}


def start_charts(stack: Stack, exits: ExitStack, name: str, app: str = "guanwecom") -> Program:
    command = [
        str(BIN / "celery"),
        "-A",
        app,
        "worker",
        "-Q",
        "charts",
        "-n",
        f"{name}@%h",
        "--loglevel",
        "INFO",
    ]
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


def make_within(seconds: int, medium_id: int) -> None:
    tasks.make_medium.apply_async(([medium_id],), queue=CHARTS_QUEUE, time_limit=seconds)


def due_now() -> None:
    """The factories write rows of a day of their own."""
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
        # What was begun and lost comes back as soon as its lease ends: here the test ends it.
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
            make_within(SECONDS_AT_MOST, medium.pk)

            eventually(made.exists, stack.programs.values())
            eventually(lambda: not family.children(), stack.programs.values())


def test_a_drawing_process_keeps_its_connection_from_one_picture_to_the_next(stack: Stack, corp: Corp) -> None:
    run, pids = make_run(), []
    writer = """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'UPDATE "notifications_medium" SET "status"%'
    """
    with ExitStack() as exits:
        start_charts(stack, exits, "charts")
        for title in ("first", "second"):
            medium = make_delivery(corp, MessageForm.IMAGE, run=run, chart=replace(CHART, title=title)).medium
            assert medium is not None
            make_within(SECONDS_AT_MOST, medium.pk)
            eventually(Medium.objects.filter(pk=medium.pk, status="ready").exists, stack.programs.values())
            with connection.cursor() as cursor:
                cursor.execute(writer)
                pids.append(cursor.fetchall())

    assert len(pids[0]) == 1
    assert pids[0] == pids[1]


def test_a_chart_that_hangs_and_a_worker_killed_while_uploading_cost_no_message_and_double_none(
    stack: Stack, corp: Corp
) -> None:
    assert tasks.make_medium.time_limit == SECONDS_AT_MOST
    run, sandbox = make_run(), stack.sandbox
    hanging = make_delivery(corp, MessageForm.IMAGE, run=run, chart=replace(CHART, title=ENDLESS))
    for form in (MessageForm.IMAGE, MessageForm.XLSX):
        make_delivery(corp, form, run=run)
    assert hanging.medium is not None
    hung = Medium.objects.filter(pk=hanging.medium.pk)
    due_now()
    sandbox.fault("hang", "media/upload", count=1, seconds=600)
    with ExitStack() as exits:
        killed = stack.begin_worker(exits, "killed")
        start_charts(stack, exits, "charts", "tests.notifications.delivery.attachments.hanging_worker")
        wait_for_log("ready.", killed)
        # As a tick does, but for the time limit (tasks.make_medium.time_limit), for which nobody waits here.
        first, *others = hand_out_media(now=timezone.now())
        assert first == hung.get().pk
        make_within(2, first)
        for medium_id in others:
            make_within(FILE_SECONDS_AT_MOST, medium_id)

        # The chart comes first, and holds up the others no longer than that.
        eventually(Medium.objects.filter(status="ready", kind="xlsx").exists, stack.programs.values())
        if not hung.get().make_count:  # a busy machine's worker had not even begun it
            make_within(FILE_SECONDS_AT_MOST, first)
        eventually(lambda: hung.get().make_count == 1, stack.programs.values())
        tasks._prepare(timezone.now())
        eventually(lambda: sandbox.calls("media/upload"), stack.programs.values())
        killed.kill()
        assert [sandbox.messages(CORPID, userid) for userid in USERIDS] == [[], []]

        # What was begun comes back as soon as its lease ends: here the test ends it.
        hung.update(make_count=TRIES_AT_MOST, make_after=timezone.now())
        tasks._make_media(timezone.now())
        Delivery.objects.update(lease_until=timezone.now(), queued_until=timezone.now())
        stack.start_worker(exits, "second")
        tasks._prepare(timezone.now())
        accepted = Delivery.objects.filter(status="accepted")
        eventually(lambda: accepted.count() == 3, stack.programs.values())

        assert hung.get().status == "failed"
        assert Attempt.objects.count() == 3
        for userid in USERIDS:
            types = Counter(message["msgtype"] for message in sandbox.messages(CORPID, userid))
            assert types == {"textcard": 1, "image": 1, "file": 1}


def test_the_largest_workbook_is_made_within_its_time_and_says_what_it_leaves_out(stack: Stack) -> None:
    """Ten cards, each with as many rows as a source may give: 100,000, of twelve columns."""
    kinds = (*(Kind.DATE, Kind.DATETIME, Kind.BOOLEAN), *([Kind.TEXT, Kind.NUMBER, Kind.NUMBER] * 3))
    day, moment = date(2026, 11, 24), datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
    rows = tuple(_row(n, day, moment) for n in range(ROWS_AT_MOST))
    table = Table(tuple(Column(f"列{place}", kind) for place, kind in enumerate(kinds)), rows, timezone.now())
    recipe = file_recipe([(f"卡片{number}", table) for number in range(10)], language="zh-hans")
    medium = make_medium(make_run(), kind=Medium.Kind.XLSX, recipe=recipe)
    due_now()
    with ExitStack() as exits:
        start_charts(stack, exits, "charts")

        tasks._make_media(timezone.now())
        wait = 2 * FILE_SECONDS_AT_MOST
        eventually(Medium.objects.exclude(status="waiting").exists, stack.programs.values(), seconds=wait)

    medium.refresh_from_db()
    assert (medium.status, medium.make_count) == ("ready", 1), medium.error
    with zipfile.ZipFile(io.BytesIO(bytes(medium.content))) as file:
        sheets = [name for name in file.namelist() if "worksheets" in name]
        tail = html.unescape(file.read(sheets[-1])[-2000:].decode())
    assert len(sheets) == 10
    assert "共 100000 行，本文件只容得下前 20833 行。" in tail
    assert "减少" in tail


def _row(number: int, day: date, moment: datetime) -> tuple[Value, ...]:
    values: tuple[Value, ...] = (f"门店{number % 7919}", Decimal(number * 37 % 999_983) / 100, number * 7)
    return (day, moment, number % 2 == 0, *values, *values, *values)
