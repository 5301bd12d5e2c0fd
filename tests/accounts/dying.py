"""A program whose workers die by SIGKILL at a moment that the test chooses: one worker for each line of its input.

Moments are counted before and after every database statement, so they include both sides of each commit and of each
call to WeCom. Clock times would mean other steps on another machine. Workers are forked, because starting Python
takes longer than a worker lives.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.directory import sync
from integrations import callbacks
from integrations.directory.sync import JOB
from integrations.models import CallbackEvent, Job
from tests.jobs import do_jobs

# A batch of ten instead of hundreds, so that there are many steps between which a worker may die.
AT_ONCE = 10
PROGRAM = "import django; django.setup(); from tests.accounts import dying; dying.main()"


@dataclass(frozen=True)
class Workers:
    """The program as a test sees it."""

    process: subprocess.Popen[str]

    def work(self, kind: str, *, dies_at: int = 0) -> bool:
        """Let a worker do all waiting work of a kind: "people" or "events". Return False if it died at `dies_at`.

        Leases of the previous worker have expired.
        """
        _let_leases_expire()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(kind, dies_at, file=self.process.stdin, flush=True)
        said = self.process.stdout.readline().strip()
        assert said in {"ended", "killed"}, said
        return said == "ended"


def _let_leases_expire() -> None:
    """Expire leases in the rows. A clock that is ahead would differ from the sandbox's, and events carry times."""
    now = timezone.now()
    Job.objects.unfinished().update(due_at=now)
    CallbackEvent.objects.waiting().filter(next_try_at__gt=now).update(next_try_at=now)


@contextmanager
def dying_workers(environ: dict[str, str], root: Path) -> Iterator[Workers]:
    command = [sys.executable, "-c", PROGRAM]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environ, cwd=root, text=True, **pipes) as process:
        yield Workers(process)
        process.kill()


def main() -> None:
    sync.STEP = callbacks.BATCH = AT_ONCE
    kinds = {"people": JOB, "events": callbacks.EVENTS}
    for line in sys.stdin:
        kind, dies_at = line.split()
        worker = os.fork()
        if not worker:
            _work(kinds[kind], int(dies_at))
            os._exit(0)
        status = os.waitpid(worker, 0)[1]
        is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("killed\n" if is_killed else f"failed {status}\n" if status else "ended\n")
        sys.stdout.flush()


def _work(kind: str, dies_at: int) -> None:
    moments = count(1)

    def moment() -> None:
        if next(moments) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(execute: Any, *statement: Any) -> Any:
        moment()
        try:
            return execute(*statement)
        finally:
            moment()

    with connection.execute_wrapper(around):
        do_jobs(kind)
