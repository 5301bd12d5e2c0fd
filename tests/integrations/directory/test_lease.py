"""Workers that fall asleep or die: a run that another has, and kills in the middle."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from integrations.directory.sync import JOB, confirm_run, explain_run
from integrations.jobs.requests import retry_job
from integrations.jobs.runner import JobRun
from integrations.models import Job, Member, SyncRun
from integrations.models.jobs import LeaseLostError
from tests.integrations.directory.place import Directory, carry_on
from tests.jobs import do_jobs, end_leases
from tests.nightly import nightly

Status = SyncRun.Status


def test_a_worker_that_slept_through_its_lease_writes_nothing(place: Directory) -> None:
    """Wake to write while another worker has the run."""
    run = place.request()

    def sleepy() -> datetime:
        if SyncRun.objects.get().phase == "writing":
            Job.objects.update(lease_token="another")
        return place.clock()

    with pytest.raises(LeaseLostError):
        carry_on(run, clock=sleepy)

    assert Member.objects.count() == 0


def test_a_run_that_no_worker_survives_ends_and_begins_anew_where_its_job_is_tried_again(
    place: Directory, superuser: User
) -> None:
    run = place.request()
    SyncRun.objects.update(status=Status.RUNNING)
    Job.objects.update(status="running", try_count=5, due_at=timezone.now())

    do_jobs(JOB)

    run.refresh_from_db()
    assert (run.status, run.phase, run.problem, run.finished_at is None) == (Status.FAILED, "finished", "broken", False)
    assert explain_run(run).what.startswith("程序出错。")
    retry_job(Job.objects.get(), by=superuser, now=timezone.now())
    do_jobs(JOB)
    run.refresh_from_db()
    assert (run.status, run.problem) == (Status.DONE, "")
    assert place.stored() == place.theirs()


def test_progress_is_reported_while_reading_and_writing(place: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []
    report = JobRun.report_progress

    def reporting(job: JobRun, done: int, total: int) -> None:
        report(job, done, total)
        seen.append((SyncRun.objects.get().phase, done, total))

    monkeypatch.setattr(JobRun, "report_progress", reporting)
    place.sync()

    assert {one for one in seen if one[2]} >= {("members", 2, 4), ("writing", 4, 7), ("writing", 7, 7)}
    phases = list(dict.fromkeys(phase for phase, _done, _total in seen))
    assert phases == ["departments", "members", "comparing", "writing"]


# --- kill -9 ----------------------------------------------------------------------------------------------------------

# For each line of its input, forks a worker that does the active run, and prints a line for each reading of the clock
# and each report of progress, which the run makes at every step. It forks because starting Python takes longer than
# the whole run.
STEPS_AT_MOST = 110
KILLS = 20
WORKERS = """
import os, sys, django
django.setup()
from integrations.core.background import database_clock
from integrations.directory import diff
from integrations.directory.sync import JOB
from integrations.jobs import runner
from tests.jobs import do_jobs
diff.CHUNK = 20
def printing_clock():
    clock = database_clock()
    def look():
        print(flush=True)
        return clock()
    return look
runner.database_clock = printing_clock
report = runner.JobRun.report_progress
def printing_report(*progress):
    print(flush=True)
    report(*progress)
runner.JobRun.report_progress = printing_report
for line in sys.stdin:
    worker = os.fork()
    if not worker:
        print(os.getpid(), flush=True)
        do_jobs(JOB)
        os._exit(0)
    os.waitpid(worker, 0)
    print("ended", flush=True)
"""


@pytest.fixture
def workers(process_environ: dict[str, str], project_root: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORKERS]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=process_environ, cwd=project_root, text=True, **pipes) as process:
        yield process
        process.kill()


@nightly
@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_kills_in_the_middle_leave_the_same_directory(place: Directory, workers: subprocess.Popen[str]) -> None:
    """Kill at different moments of reading or writing; between kills the directory goes on changing."""
    chance = random.Random(20261124)  # noqa: S311  # moments, not secrets
    place.put_departments(*({"id": n, "name": f"部门{n}", "parentid": 1} for n in range(100, 140)))
    place.put_members(*({"userid": f"m{n}", "name": f"M{n}", "department": [100 + n % 40]} for n in range(1000)))
    place.clock.now = timezone.now()
    place.request()
    killed = rounds = 0
    phases = set()
    while killed < KILLS:
        rounds += 1
        assert rounds < 60
        change(place, chance)
        phases.add(kill_in_the_middle(workers, chance=chance))
        killed += SyncRun.objects.filter(status=Status.RUNNING).exists()
        answer_and_ask_again(place, minutes=4 * rounds)

    place.clock.now = timezone.now() + timedelta(minutes=4 * (rounds + 1))
    end_leases()
    place.sync_saying_yes()
    place.sync_saying_yes()

    assert place.stored() == place.theirs()
    assert {"members", "writing"} <= phases
    here = SyncRun.objects.filter(status=Status.RUNNING)
    assert not here.exists()


def change(place: Directory, chance: random.Random) -> None:
    """Let somebody move, somebody leave, and many join."""
    someone = chance.randrange(1000)
    place.put_members({"userid": f"m{someone}", "name": f"Moved{someone}", "department": [100 + chance.randrange(40)]})
    fresh = chance.randrange(10**6)
    place.put_members(*({"userid": f"x{fresh}-{n}", "name": "X", "department": [2]} for n in range(300)))
    place.delete_member(f"x{fresh}-7")


def kill_in_the_middle(workers: subprocess.Popen[str], *, chance: random.Random) -> str:
    """Start a worker and kill it some steps later. Return the phase in which the run was left.

    Steps are counted, because clock times would mean other steps on another machine.
    """
    assert workers.stdin is not None
    assert workers.stdout is not None
    end_leases()
    print(file=workers.stdin, flush=True)
    worker = int(workers.stdout.readline())
    steps = (line for _step in range(chance.randrange(3, STEPS_AT_MOST)) for line in [workers.stdout.readline()])
    if "ended\n" not in steps:
        os.kill(worker, signal.SIGKILL)
        while workers.stdout.readline() != "ended\n":
            pass
    return SyncRun.objects.latest("pk").phase


def answer_and_ask_again(place: Directory, *, minutes: int) -> None:
    """Answer and request as an administrator would, and move the clock."""
    place.clock.now = timezone.now() + timedelta(minutes=minutes)
    newest = SyncRun.objects.latest("pk")
    if newest.status == Status.ASKING:
        assert confirm_run(run=newest, now=place.clock())
    place.request()
