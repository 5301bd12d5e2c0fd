"""Real workers: a job is done once, and survives any fate of its worker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from integrations.datasources import source_tests
from integrations.jobs import requests
from integrations.models import DataSource, Job
from tests.e2e.stack import Program, Stack
from tests.e2e.waiting import eventually
from tests.http_server import serving
from tests.sandbox_process import start_sandbox

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


class Service(BaseHTTPRequestHandler):
    """A data source that answers once the test lets it."""

    asked: threading.Semaphore
    may_answer: threading.Event

    def do_GET(self) -> None:
        self.asked.release()
        self.may_answer.wait(60)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_args: Any) -> None:
        pass


class Place:
    """Workers, a source that keeps them waiting, and the source's test."""

    def __init__(self, stack: Stack, exits: ExitStack) -> None:
        self.stack, self.exits = stack, exits
        self.asked, self.may_answer = threading.Semaphore(0), threading.Event()
        port = exits.enter_context(serving(Service, asked=self.asked, may_answer=self.may_answer))
        exits.callback(self.may_answer.set)
        self.source = DataSource.objects.create(
            name="Slow",
            kind="json",
            http_url=f"http://127.0.0.1:{port}",
            allows_private_addresses=True,
            timeout_seconds=60,
        )

    def ask(self) -> Job:
        return source_tests.request_source_test(self.source, by=None, now=timezone.now())

    def begin(self, name: str) -> tuple[Program, Job]:
        """Start a worker and wait until it has the job."""
        worker, job = self.stack.start_worker(self.exits, name), self.ask()
        assert self.asked.acquire(timeout=60)
        return worker, job

    def is_done(self) -> bool:
        return not Job.objects.exclude(status="done").exists()

    def wait_until_done(self) -> None:
        eventually(self.is_done, self.stack.programs.values())


@pytest.fixture
def place(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Place]:
    process_environ["DATA_ALLOW_LOOPBACK"] = "true"
    with start_sandbox(seed={"companies": []}) as sandbox, ExitStack() as exits:
        yield Place(Stack(env=process_environ, root=project_root, folder=tmp_path, sandbox=sandbox), exits)


def end_lease() -> None:
    """End the leases, as half a minute of silence would."""
    Job.objects.update(due_at=Now())


def test_a_job_whose_worker_was_killed_goes_on_with_another_by_itself_within_a_minute(place: Place) -> None:
    worker, job = place.begin("killed")
    worker.kill()
    place.may_answer.set()
    place.stack.start_worker(place.exits, "second")
    killed_at = timezone.now()
    place.stack.start_beat(place.exits)
    place.wait_until_done()

    job.refresh_from_db()
    assert job.finished_at is not None
    assert (job.finished_at - killed_at).total_seconds() < 60
    assert (job.status, job.try_count) == ("done", 2)


def test_a_worker_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on(place: Place) -> None:
    frozen, job = place.begin("frozen")
    frozen.process.send_signal(signal.SIGSTOP)
    end_lease()
    place.may_answer.set()
    place.stack.start_worker(place.exits, "second")
    requests.queue_due(timezone.now())
    place.wait_until_done()
    job.refresh_from_db()
    result, finished_at = job.result, job.finished_at

    frozen.process.send_signal(signal.SIGCONT)
    eventually(lambda: "went to another worker" in frozen.log.read_text(), place.stack.programs.values())

    job.refresh_from_db()
    assert (job.try_count, job.result, job.finished_at) == (2, result, finished_at)


def test_of_many_messages_for_one_job_two_workers_take_one(place: Place) -> None:
    place.stack.start_worker(place.exits, "first")
    place.stack.start_worker(place.exits, "second")
    job = place.ask()
    for _ in range(20):
        current_app.send_task(requests.TASK, args=(job.pk,), queue="data")
    assert place.asked.acquire(timeout=60)
    behind = place.ask()  # requested while it runs: starts after it, not beside it
    assert not place.asked.acquire(timeout=3)
    place.may_answer.set()
    place.wait_until_done()

    assert behind.pk != job.pk
    assert list(Job.objects.values_list("try_count", flat=True)) == [1, 1]
    assert place.asked.acquire(timeout=10)
    assert not place.asked.acquire(blocking=False)


def test_a_long_job_keeps_its_lease_though_its_connections_are_cut(place: Place) -> None:
    _worker, job = place.begin("worker")
    leased_until = Job.objects.get().due_at
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    eventually(lambda: Job.objects.get().due_at > leased_until, place.stack.programs.values())
    place.may_answer.set()
    # A worker whose connection was cut could not write the end: the lease ends, and the job is done again.
    place.stack.start_beat(place.exits)
    place.wait_until_done()

    job.refresh_from_db()
    assert job.status == "done"
