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
from celery import signals
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from integrations.data.table import Column, Kind, Table, Value
from integrations.models import Corp
from integrations.models.datasources import ROWS_AT_MOST
from notifications import tasks
from notifications.delivery.attachments import (
    BEGUN_WITHIN,
    CHARTS_QUEUE,
    FILE_SECONDS_AT_MOST,
    QUEUED,
    SECONDS_AT_MOST,
    TRIES_AT_MOST,
    file_recipe,
    hand_out_media,
    produce_media_in_turn,
    produce_medium,
    sort_out_media,
)
from notifications.models import Attempt, Delivery, Incident, Medium, MessageForm, Run
from tests.e2e.stack import BIN, Program, Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.notifications.charts.tables import DAYS, ENDLESS
from tests.notifications.delivery.attachments.places import CHART, make_delivery, make_medium, make_run
from tests.notifications.factories import NOW
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


# Quickly made, and without the renderer.
CSV = {"kind": Medium.Kind.CSV, "recipe": file_recipe([("x", DAYS)], language="zh-hans")}


def states() -> list[tuple[str, int]]:
    return list(Medium.objects.order_by("pk").values_list("status", "make_count"))


@pytest.mark.django_db
def test_one_that_cannot_be_made_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    run = make_run()
    ids = [make_medium(run, **CSV).pk, make_medium(run, **CSV | {"recipe": b"broken"}).pk, make_medium(run, **CSV).pk]

    produce_media_in_turn(ids, clock=lambda: NOW)

    assert states() == [("ready", 1), ("waiting", 1), ("ready", 1)]
    assert caplog.messages == [f"medium={ids[1]} could not be made"]


@pytest.mark.django_db
def test_what_was_not_begun_in_time_may_be_made_at_once_and_was_not_tried() -> None:
    run = make_run()
    ids = [make_medium(run, **CSV, make_after=NOW + QUEUED).pk for _ in range(3)]
    moments = [NOW, *[NOW + BEGUN_WITHIN] * 20]

    produce_media_in_turn(ids, clock=lambda: moments.pop(0))

    assert states() == [("ready", 1), ("waiting", 0), ("waiting", 0)]
    assert list(Medium.objects.due(NOW + BEGUN_WITHIN).order_by("pk").values_list("pk", flat=True)) == ids[1:]


@pytest.mark.django_db
def test_the_others_of_a_task_wait_no_longer_than_the_one_that_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    ids = [make_medium(run, make_after=NOW + QUEUED).pk for _ in range(2)]

    def end(*_arguments: object) -> None:
        raise SystemExit

    monkeypatch.setattr("notifications.delivery.attachments.make_from_recipe", end)
    with pytest.raises(SystemExit):
        produce_media_in_turn(ids, clock=lambda: NOW)

    assert states() == [("waiting", 1), ("waiting", 0)]
    assert hand_out_media(now=NOW + timedelta(seconds=44)) == []
    assert hand_out_media(now=NOW + timedelta(seconds=45)) == [ids[1], ids[0]]


@pytest.mark.django_db
def test_what_another_task_has_begun_meanwhile_is_left_to_it() -> None:
    run, leased_until = make_run(), NOW + timedelta(seconds=45)
    ids = [make_medium(run, **CSV, make_after=NOW + QUEUED).pk for _ in range(4)]
    Medium.objects.filter(pk__in=ids[:2]).update(make_count=1, make_after=leased_until)
    calls: list[datetime] = []

    def clock() -> datetime:
        calls.append(NOW)
        if len(calls) == 2:  # they have been read by now
            Medium.objects.filter(pk=ids[2]).update(make_count=1, make_after=leased_until)
        return NOW

    produce_media_in_turn(ids, clock=clock)

    assert states() == [("waiting", 1), ("waiting", 1), ("waiting", 1), ("ready", 1)]
    assert set(Medium.objects.filter(pk__in=ids[:3]).values_list("make_after", flat=True)) == {leased_until}


@pytest.mark.django_db
def test_what_another_task_draws_is_not_handed_out_again_when_time_is_up() -> None:
    run, leased_until = make_run(), NOW + timedelta(seconds=45)
    ids = [make_medium(run, **CSV, make_after=NOW + QUEUED).pk for _ in range(3)]
    Medium.objects.filter(pk=ids[1]).update(make_count=1, make_after=leased_until)
    moments = [NOW, *[NOW + BEGUN_WITHIN] * 20]

    produce_media_in_turn(ids, clock=lambda: moments.pop(0))

    assert states() == [("ready", 1), ("waiting", 1), ("waiting", 0)]
    assert list(Medium.objects.due(NOW + BEGUN_WITHIN).values_list("pk", flat=True)) == ids[2:]


@pytest.mark.django_db
def test_pictures_of_incidents_and_previews_wait_for_no_other() -> None:
    run, times = make_run(), dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    incident = Incident.objects.create(key="k", title="销售额过低", **times)
    ids = [make_medium(run).pk for _ in range(21)]
    Medium.objects.filter(pk__in=ids[:3]).update(run=None, incident=incident)
    Medium.objects.filter(pk__in=ids[3:5]).update(run=None)

    found = sort_out_media(ids).pictures

    assert found[:5] == [[pk] for pk in ids[:5]]
    assert [len(together) for together in found[5:]] == [2] * 8


@pytest.mark.django_db
@pytest.mark.parametrize(("count", "sizes"), [(3, [1] * 3), (16, [2] * 8), (47, [5] * 9 + [2])])
def test_a_task_draws_several_where_many_wait(count: int, sizes: list[int]) -> None:
    run = make_run()
    ids = [make_medium(run).pk for _ in range(count)]

    found = sort_out_media(ids)

    assert [len(together) for together in found.pictures] == sizes
    assert [pk for together in found.pictures for pk in together] == ids


@pytest.mark.django_db
def test_what_was_begun_before_is_drawn_alone() -> None:
    run = make_run()
    ids = [make_medium(run).pk for _ in range(18)]
    Medium.objects.filter(pk__in=ids[:2]).update(make_count=1)

    assert sort_out_media(ids).pictures == [
        *([one, two] for one, two in zip(ids[2::2], ids[3::2], strict=True)),
        [ids[0]],
        [ids[1]],
    ]


FILE = {"kind": Medium.Kind.XLSX, "recipe": file_recipe([("x", DAYS)], language="zh-hans")}


@pytest.fixture
def limits() -> Iterator[dict[int, int]]:
    """Seconds by the id of the medium, of each task that is handed to the broker."""
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
