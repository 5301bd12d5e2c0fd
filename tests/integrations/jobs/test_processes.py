"""Real workers: a job survives the fate of its worker and of its connections."""

import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from integrations.datasources import source_tests
from integrations.models import Job
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.integrations.clients.sources.place import make_source
from tests.integrations.clients.sources.web import says, web_service
from tests.sandbox_process import start_sandbox


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_job_is_kept_though_connections_are_cut_and_goes_on_within_a_minute_after_its_worker_was_killed(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    process_environ["DATA_ALLOW_LOOPBACK"] = "true"
    asked, may_answer = threading.Semaphore(0), threading.Event()

    def answer(line: socket.socket, request: bytes) -> None:
        asked.release()
        may_answer.wait(60)
        says(b"{}")(line, request)

    with web_service(answer) as service, start_sandbox(seed={"companies": []}) as sandbox, ExitStack() as exits:
        stack = Stack(env=process_environ, root=project_root, folder=tmp_path, sandbox=sandbox)
        source = make_source(kind="json", http_url=service.url, allows_private_addresses=True, timeout_seconds=60)
        worker = stack.start_worker(exits, "killed")
        job = source_tests.request_source_test(source, by=None, now=timezone.now())
        assert asked.acquire(timeout=60)
        leased_until = Job.objects.get().due_at
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        eventually(lambda: Job.objects.get().due_at > leased_until, stack.programs.values())

        worker.kill()
        may_answer.set()
        stack.start_worker(exits, "second")
        killed_at = timezone.now()
        stack.start_beat(exits)
        eventually(Job.objects.filter(status="done").exists, stack.programs.values())

    job.refresh_from_db()
    assert job.finished_at is not None
    assert (job.finished_at - killed_at).total_seconds() < 60
    assert (job.status, job.try_count) == ("done", 2)
