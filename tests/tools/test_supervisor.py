"""Programs under one parent, as real processes: prefixes, order, endings, signals, what is left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tools.supervisor import ProgramEnded, Supervisor, end_marked

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
MARK = "GUANWECOM_TEST_MARK"


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


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


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_server_ends_after_the_others(
    supervisor: Supervisor, output: io.StringIO, tmp_path: Path, is_killed: bool
) -> None:
    """End the server by its supervisor, or by the next supervisor if that was killed."""
    server = tmp_path / "postgres"
    server.symlink_to(Path(sys.executable).resolve())
    supervisor.start("database", [str(server), "-c", TELL.format(0)], is_server=True)
    supervisor.start("worker", [sys.executable, "-c", TELL.format(0.5)])
    wait_for(lambda: output.getvalue().count("up") == 2)

    if is_killed:
        with subprocess.Popen(SLEEP, env=os.environ | {MARK: f"{tmp_path}-2"}, stdout=subprocess.DEVNULL) as other:
            assert len(end_marked(MARK, str(tmp_path), servers={"postgres"})) == 2
            assert other.poll() is None
            other.kill()
    else:
        supervisor.stop()

    wait_for(lambda: output.getvalue().endswith("worker  | SIGTERM\ndatabase| SIGINT\n"))


def test_stop_kills_a_deaf_program_and_its_children(
    supervisor: Supervisor, output: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.supervisor.STOP_SECONDS", 0.3)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {deaf!r}]); {deaf}"
    supervisor.start("web", [sys.executable, "-c", parent])
    wait_for(lambda: output.getvalue().count("up") == 2)

    supervisor.stop()

    assert marked(str(tmp_path)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_a_second_one_does_not_disturb_the_stop(
    tmp_path: Path, project_root: Path, number: signal.Signals
) -> None:
    parent = f"""
import os, sys
from pathlib import Path
from tools.supervisor import StopRequested, Supervisor
slow = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit()))"
supervisor = Supervisor(environ=dict(os.environ), folder=Path({str(tmp_path)!r}))
supervisor.heed_signals()
try:
    supervisor.start("web", [sys.executable, "-c", slow + "; print('up', flush=True); time.sleep(60)"])
    supervisor.wait_until(lambda: False)
except StopRequested:
    print("stopping", flush=True)
finally:
    supervisor.stop()
print("stopped", flush=True)
"""
    environ = {**os.environ, MARK: str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=project_root, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "web     | up\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopped\n"

    assert process.returncode == 0
    assert marked(str(tmp_path)) == []
