"""Programs under one parent, as real processes: prefixes, order, endings, signals, what is left behind."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.e2e.waiting import eventually
from tools.supervisor import ProgramEnded, Supervisor

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
MARK = "GUANWECOM_TEST_MARK"


def marked(value: str, mark: str = MARK) -> list[psutil.Process]:
    """Return the living processes that carry the mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(mark) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path: Path, output: io.StringIO) -> Iterator[Supervisor]:
    supervisor = Supervisor(environ={**os.environ, MARK: str(tmp_path)}, folder=tmp_path, output=output)
    yield supervisor
    supervisor.stop()
    assert marked(str(tmp_path)) == []


def test_lines_of_both_streams_get_the_programs_name_unless_they_are_kept(
    supervisor: Supervisor, output: io.StringIO
) -> None:
    lines = "import sys; print('one', flush=True); print('zwei: 二', file=sys.stderr)"

    supervisor.run("web", [sys.executable, "-c", lines])

    assert output.getvalue() == "web     | one\nweb     | zwei: 二\n"
    assert supervisor.run("seed", [sys.executable, "-c", "print('a\\nb')"], keep=True) == ["a", "b"]
    assert output.getvalue().count("\n") == 2


def test_what_ends_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(ProgramEnded, match=r"^migrate failed with status 3\.$"):
        supervisor.run("migrate", [sys.executable, "-c", "raise SystemExit(3)"])

    valkey = supervisor.start("valkey", SLEEP)
    valkey.process.kill()
    with pytest.raises(ProgramEnded, match=r"^valkey ended by SIGKILL\.$"):
        supervisor.run("migrate", SLEEP)
    supervisor.stop()
    supervisor.start("web", SLEEP)
    supervisor.start("beat", [sys.executable, "-c", "pass"])
    with pytest.raises(ProgramEnded, match=r"^beat ended with status 0\.$"):
        supervisor.wait_until(lambda: False)


TELL = (
    "import signal, sys, time; "
    "end = lambda number, _: (time.sleep({0}), print(signal.Signals(number).name, flush=True), sys.exit()); "
    "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGINT, end); print('up', flush=True); time.sleep(60)"
)


def test_a_server_ends_after_the_others(supervisor: Supervisor, output: io.StringIO, tmp_path: Path) -> None:
    server = tmp_path / "postgres"
    server.symlink_to(Path(sys.executable).resolve())
    supervisor.start("database", [str(server), "-c", TELL.format(0)], is_server=True)
    supervisor.start("worker", [sys.executable, "-c", TELL.format(0.5)])
    eventually(lambda: output.getvalue().count("up") == 2)

    supervisor.stop()

    eventually(lambda: output.getvalue().endswith("worker  | SIGTERM\ndatabase| SIGINT\n"))


def test_stop_kills_a_deaf_program_and_its_children(
    supervisor: Supervisor, output: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.supervisor.STOP_SECONDS", 0.3)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {deaf!r}]); {deaf}"
    supervisor.start("web", [sys.executable, "-c", parent])
    eventually(lambda: output.getvalue().count("up") == 2)

    supervisor.stop()

    assert marked(str(tmp_path)) == []
