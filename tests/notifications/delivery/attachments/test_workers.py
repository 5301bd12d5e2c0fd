"""The worker that draws pictures and makes files, and the time that each of its tasks has."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import signals
from pytest_django import DjangoCaptureOnCommitCallbacks

from notifications import tasks
from notifications.delivery.attachments import CHARTS_QUEUE, SECONDS_AT_MOST, produce_medium
from notifications.models import Medium, MessageForm
from tests.e2e.stack import BIN, running, wait_for_log
from tests.e2e.waiting import eventually
from tests.notifications.charts.tables import DAYS
from tests.notifications.delivery.attachments.places import make_file_recipe, make_medium, make_run
from tests.notifications.factories import NOW

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def test_drawing_processes_end_when_idle_and_begin_with_the_next_picture(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    command = [str(BIN / "celery"), "-A", "guanwecom", "worker", "-Q", "charts", "-n", "charts@%h", "-l", "INFO"]
    command += ["--pool", "prefork", "--autoscale", "1,0", "--max-tasks-per-child", "3", "--without-mingle"]
    environ = {**process_environ, "AUTOSCALE_KEEPALIVE": "1"}
    with running("charts", command, env=environ, folder=tmp_path, cwd=project_root) as worker:
        wait_for_log("ready.", worker)
        family = psutil.Process(worker.process.pid)
        assert not family.children()
        for _picture in range(2):
            medium = make_medium(make_run())
            made = Medium.objects.filter(pk=medium.pk, status="ready", make_count=1)
            tasks.make_medium.apply_async(([medium.pk],), queue=CHARTS_QUEUE, time_limit=SECONDS_AT_MOST)

            eventually(made.exists, [worker])
            eventually(lambda: not family.children(), [worker])


FILE = {"kind": Medium.Kind.XLSX, "recipe": make_file_recipe(MessageForm.XLSX, DAYS)}


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
