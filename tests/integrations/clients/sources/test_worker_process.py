"""Programs that answer one question: killed at their time, and told apart by how they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType

import pytest

from integrations.clients.sources.worker_process import WorkerBroken, WorkerTooSlow, answer_of


def program(folder: Path, code: str) -> ModuleType:
    module = ModuleType("program")
    module.__file__ = str(folder / "program.py")
    Path(module.__file__).write_text(f"import json, os, signal, sys\n{code}\n")
    return module


def test_it_answers_in_json_to_what_it_is_sent_and_knows_nothing_else(tmp_path: Path) -> None:
    echo = program(tmp_path, "print(json.dumps([sys.stdin.read(), sys.argv[1:], 'PATH' in os.environ]))")

    assert answer_of(echo, "问".encode(), seconds=30) == ["问", [], False]


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    left = tmp_path / "pid"
    endless = program(tmp_path, f"open({str(left)!r}, 'w').write(str(os.getpid()))\nwhile True: pass")

    with pytest.raises(WorkerTooSlow) as found:
        answer_of(endless, b"s3cret", seconds=3)

    assert found.value.__context__ is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(left.read_text()), 0)


@pytest.mark.parametrize("code", [1, 3])
def test_one_that_breaks_says_its_code(tmp_path: Path, code: int) -> None:
    with pytest.raises(WorkerBroken) as found:
        answer_of(program(tmp_path, f"sys.exit({code})"), b"", seconds=30)

    assert found.value.code == code


@pytest.mark.parametrize(
    ("ended_by", "error"),
    [(signal.SIGXCPU, WorkerTooSlow), (signal.SIGKILL, WorkerBroken), (signal.SIGSEGV, WorkerBroken)],
)
def test_a_signal_is_the_end_of_its_processor_time_or_a_break(
    tmp_path: Path, ended_by: signal.Signals, error: type[Exception]
) -> None:
    with pytest.raises(error):
        answer_of(program(tmp_path, f"os.kill(os.getpid(), {int(ended_by)})"), b"", seconds=30)
