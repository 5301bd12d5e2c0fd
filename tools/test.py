"""Runs all tests, once for each database named: `python -m tools.test sqlite postgresql [-- arguments for pytest]`.

These passes run at the same time: while one waits for its browsers and processes, another has the processors. The first
speaks as it goes; what the next has said appears once that one has ended, and what it says from then on as it comes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tests.services import DATABASES, find_chromium

ROOT = Path(__file__).resolve().parent.parent
USAGE = f"usage: python -m tools.test {{{'|'.join(DATABASES)}}}... [-- arguments for pytest]"
# A worker for each processor, and one more in the last pass, as its tests that drive browsers and start processes wait
# most of their time. More than four start more servers than they save time.
WORKERS_BESIDE, WORKERS_AT_MOST = 1, 4
INTERRUPTED = 2  # pytest's exit status after Ctrl-C
LOOK_SECONDS = 0.2  # between two looks at what a pass has said
NO_CHROMIUM = (
    "No Chromium found: the browser tests {what}. Install one (Debian, Ubuntu: apt install chromium), or name the "
    "program in the variable CHROMIUM."
)


def main(arguments: list[str]) -> int:
    """Returns 0 if every pass did, else the first other exit status of pytest."""
    databases, for_pytest = split(arguments)
    if not databases or not set(databases) <= set(DATABASES):
        print(USAGE, file=sys.stderr)
        return 2
    if find_chromium() is None:
        if os.environ.get("CI", "").lower() == "true":
            print(NO_CHROMIUM.format(what="cannot run, and CI=true asks for them"), file=sys.stderr)
            return 1
        print(NO_CHROMIUM.format(what="are skipped"), flush=True)
    statuses = run_at_once([command_of(database, databases, for_pytest) for database in databases])
    return next((abs(status) for status in statuses if status), 0)


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and after the first `--`."""
    position = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:position], arguments[position + 1 :]


def command_of(database: str, databases: list[str], for_pytest: list[str]) -> list[str]:
    """One pass. The tests of a file share a worker, and what they start; tests/workers.py has the order."""
    beside = WORKERS_BESIDE if database == databases[-1] else 0
    workers = min((os.cpu_count() or 1) + beside, WORKERS_AT_MOST)
    parallel = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    colour = ["--color", "yes" if sys.stdout.isatty() else "auto"]
    passes = ["--database", database, "--passes", ",".join(databases)]
    return [sys.executable, "-m", "pytest", *passes, *parallel, *colour, *for_pytest]


def run_at_once(commands: list[list[str]]) -> list[int]:
    """The exit statuses. A program that is stopped stops those after it."""
    # What a shell puts into the background begins deaf to it, and so would all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as exits:
        outputs = [None, *(exits.enter_context(tempfile.TemporaryFile()) for _ in commands[1:])]
        programs = [start(command, output) for command, output in zip(commands, outputs, strict=True)]
        try:
            for program, output in zip(programs, outputs, strict=True):
                status = program.wait() if output is None else follow(program, output)
                if status < 0 or status == INTERRUPTED:
                    stop(programs)
        except KeyboardInterrupt:  # the terminal has told all of them; they have servers to stop
            pass
        return [program.wait() for program in programs]


def start(command: list[str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    # Byte code is kept, whatever the environment says: dozens of our programs are started, and all passes read tests.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output and subprocess.STDOUT)


def follow(program: subprocess.Popen[bytes], output: IO[bytes]) -> int:
    """Print what the program has said and says until it ends; returns its exit status.

    pread: the program writes where this file's position is, which a read would move.
    """
    position = 0
    while True:
        status = program.poll()  # before the look, so that the last one sees everything
        while said := os.pread(output.fileno(), 65_536, position):
            position += len(said)
            sys.stdout.buffer.write(said)
        sys.stdout.buffer.flush()
        if status is not None:
            return status
        time.sleep(LOOK_SECONDS)


def stop(programs: list[subprocess.Popen[bytes]]) -> None:
    for program in programs:
        if program.poll() is None:
            program.send_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
