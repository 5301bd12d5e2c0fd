"""One worker at a time: leases, workers that die or fall asleep, and twenty kills in the middle."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from integrations.directory import confirm_run, due_runs, run_sync
from integrations.directory.diff import LEASE, Plan, Writer
from integrations.directory.fetch import Person
from integrations.models import Member, SyncRun
from integrations.models.jobs import LeaseLostError
from tests.integrations.directory.place import Directory

Status = SyncRun.Status


def claimed(place: Directory, run: SyncRun) -> SyncRun:
    """As if a worker had taken the run and died."""
    SyncRun.objects.filter(pk=run.pk).update(
        status=Status.RUNNING, lease_token="dead", lease_until=place.clock.now + LEASE, started_at=place.clock.now
    )
    run.refresh_from_db()
    return run


def test_a_run_under_lease_is_nobody_elses(place: Directory) -> None:
    run = claimed(place, place.request())

    assert due_runs(now=place.clock.now) == []
    assert run_sync(run_id=run.pk, clock=place.clock) is None
    assert place.calls() == {}


def test_after_its_lease_a_run_is_taken_over(place: Directory) -> None:
    run = claimed(place, place.request())
    place.clock.now += LEASE

    assert due_runs(now=place.clock.now) == [run.pk]
    done = place.carry_on(run)

    assert (done.status, done.started_at) == (Status.DONE, run.started_at)
    assert place.stored() == place.theirs()


def test_a_finished_run_is_not_carried_out_again(place: Directory) -> None:
    run = place.sync()

    assert run_sync(run_id=run.pk, clock=place.clock) is None


def test_a_worker_that_slept_through_its_lease_writes_nothing(place: Directory) -> None:
    """It wakes while another has the run: in the middle of reading, and before a chunk."""
    run = claimed(place, place.request())
    writer = Writer(corp=place.corp, run=run, clock=place.clock)
    SyncRun.objects.filter(pk=run.pk).update(lease_token="another")

    with pytest.raises(LeaseLostError):
        writer.propose([])
    with pytest.raises(LeaseLostError):
        writer.write(Plan(joined=[Person("lilei", {})]))

    assert Member.objects.count() == 0


def test_a_run_that_is_taken_away_while_reading_stops_at_the_next_heartbeat(place: Directory) -> None:
    run = place.request()
    looks = 0

    def clock_and_thief() -> object:
        nonlocal looks
        looks += 1
        if looks == 4:
            SyncRun.objects.filter(pk=run.pk).update(lease_token="another")
        return place.clock()

    assert run_sync(run_id=run.pk, clock=clock_and_thief) is None  # type: ignore[arg-type]  # a clock, and more

    run.refresh_from_db()
    assert (run.status, run.lease_token) == (Status.RUNNING, "another")
    assert Member.objects.count() == 0


@pytest.mark.parametrize("phase", ["members", "writing"])
def test_a_worker_at_work_moves_its_lease_on(place: Directory, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    """Each look at the clock is a minute later: the whole run takes longer than one lease."""
    monkeypatch.setattr("integrations.directory.diff.CHUNK", 1)
    run = place.request()
    begun = place.clock.now
    leases: dict[str, list[timedelta]] = {}

    def slow() -> datetime:
        run.refresh_from_db()
        if run.lease_until is not None:
            leases.setdefault(run.phase, []).append(run.lease_until - place.clock.now)
        place.clock.now += timedelta(seconds=60)
        return place.clock.now

    done = run_sync(run_id=run.pk, clock=slow)

    assert done is not None
    assert done.status == Status.DONE
    assert place.clock.now - begun > 2 * LEASE
    assert len(leases[phase]) > 2
    assert min(leases[phase]) == LEASE


def test_a_run_that_no_worker_survives_ends(place: Directory) -> None:
    run = claimed(place, place.request())
    place.clock.now += timedelta(hours=6)

    assert run_sync(run_id=run.pk, clock=place.clock) is None

    run.refresh_from_db()
    assert (run.status, run.problem) == (Status.FAILED, "too_long")
    assert place.sync().status == Status.DONE


def test_progress_is_written_while_reading(place: Directory) -> None:
    run = place.request()
    seen = []

    def watching() -> object:
        run.refresh_from_db()
        seen.append((run.phase, run.done_count, run.total_count))
        return place.clock()

    run_sync(run_id=run.pk, clock=watching)  # type: ignore[arg-type]  # a clock, and more

    assert ("members", 2, 4) in seen
    assert [phase for phase, _done, _total in seen if phase == "writing"] != []
    phases = list(dict.fromkeys(phase for phase, _done, _total in seen))
    assert phases == ["waiting", "departments", "members", "comparing", "writing"]


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_one_carries_the_run_out(place: Directory) -> None:
    run = place.request()
    results: list[SyncRun | None] = []

    def work() -> None:
        results.append(run_sync(run_id=run.pk, clock=lambda: place.clock.now))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(result is not None for result in results) == 1
    assert place.stored() == place.theirs()
    run.refresh_from_db()
    assert run.counts == {"departments": 4, "joined": 3}


# --- kill -9 ----------------------------------------------------------------------------------------------------------

# For each line of its input, some minutes, forks a worker whose clock is so far ahead and that carries the active run
# out; a line for each look at the clock, which the run takes at every step. Why forked? Starting Python takes longer
# than the whole run.
STEPS_AT_MOST = 110
WORKERS = """
import os, sys, django
django.setup()
from datetime import timedelta
from django.utils import timezone
from integrations.directory import diff, due_runs, run_sync
diff.CHUNK = 20
def work(ahead):
    def clock():
        print(flush=True)
        return timezone.now() + ahead
    for key in due_runs(now=clock()):
        run_sync(run_id=key, clock=clock)
for line in sys.stdin:
    worker = os.fork()
    if not worker:
        print(os.getpid(), flush=True)
        work(timedelta(minutes=float(line)))
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


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_twenty_kills_in_the_middle_leave_the_same_directory(place: Directory, workers: subprocess.Popen[str]) -> None:
    """Each kill comes at another moment of reading or writing; between kills the directory goes on changing."""
    chance = random.Random(20261124)  # noqa: S311  # moments, not secrets
    place.put_departments(*({"id": n, "name": f"部门{n}", "parentid": 1} for n in range(100, 140)))
    place.put_members(*({"userid": f"m{n}", "name": f"M{n}", "department": [100 + n % 40]} for n in range(1000)))
    place.clock.now = timezone.now()
    place.request()
    killed = rounds = 0
    phases = set()
    while killed < 20:
        rounds += 1
        assert rounds < 60
        change(place, chance)
        phases.add(kill_in_the_middle(workers, minutes=4 * rounds, chance=chance))
        killed += SyncRun.objects.filter(status=Status.RUNNING).exists()
        answer_and_ask_again(place, minutes=4 * rounds)

    place.clock.now = timezone.now() + timedelta(minutes=4 * (rounds + 1))
    place.sync_saying_yes()
    place.sync_saying_yes()

    assert place.stored() == place.theirs()
    assert {"members", "writing"} <= phases
    here = SyncRun.objects.filter(status=Status.RUNNING)
    assert not here.exists()


def change(place: Directory, chance: random.Random) -> None:
    """Somebody moves, somebody leaves, many join."""
    someone = chance.randrange(1000)
    place.put_members({"userid": f"m{someone}", "name": f"Moved{someone}", "department": [100 + chance.randrange(40)]})
    fresh = chance.randrange(10**6)
    place.put_members(*({"userid": f"x{fresh}-{n}", "name": "X", "department": [2]} for n in range(300)))
    place.delete_member(f"x{fresh}-7")


def kill_in_the_middle(workers: subprocess.Popen[str], *, minutes: int, chance: random.Random) -> str:
    """Start a worker, kill it some steps later: not moments, which are other steps on another machine.

    Returns the phase in which the run was left.
    """
    assert workers.stdin is not None
    assert workers.stdout is not None
    print(minutes, file=workers.stdin, flush=True)
    worker = int(workers.stdout.readline())
    steps = (line for _step in range(chance.randrange(3, STEPS_AT_MOST)) for line in [workers.stdout.readline()])
    if "ended\n" not in steps:
        os.kill(worker, signal.SIGKILL)
        while workers.stdout.readline() != "ended\n":
            pass
    return SyncRun.objects.latest("pk").phase


def answer_and_ask_again(place: Directory, *, minutes: int) -> None:
    """What an administrator and the clock do meanwhile."""
    place.clock.now = timezone.now() + timedelta(minutes=minutes)
    newest = SyncRun.objects.latest("pk")
    if newest.status == Status.ASKING:
        assert confirm_run(run=newest, now=place.clock(), answered_by="root")
    place.request()
