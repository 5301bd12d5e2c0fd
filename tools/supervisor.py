"""Run several programs under one parent, with prefixed output. If one ends, all are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any, TextIO

import psutil

STOP_SECONDS = 10
POLL_SECONDS = 0.1


class StopRequested(Exception):
    """SIGINT or SIGTERM arrived."""


class ProgramEnded(Exception):
    """A program ended that should keep running. The text has its name and exit status."""


@dataclass
class Program:
    """A started program. Its process leads its own group, away from the terminal's Ctrl-C. `is_server`: other programs
    need it, so it ends after them, by SIGINT: at SIGTERM PostgreSQL would wait for clients."""

    name: str
    process: subprocess.Popen[bytes]
    reader: threading.Thread
    lines: list[str]
    is_server: bool


class Supervisor:
    """Parent of programs, which share an environment and a folder, and whose output goes to one stream."""

    def __init__(self, *, environ: dict[str, str], folder: Path, output: TextIO = sys.stdout) -> None:
        self.environ = environ
        self.folder = folder
        self.programs: list[Program] = []
        self._output = output
        self._lock = threading.Lock()
        self._stop_requested = False

    def catch_signals(self) -> None:
        """Make the next wait raise StopRequested after a SIGINT or SIGTERM. Further signals are ignored."""

        def request_stop(number: int, frame: FrameType | None) -> None:
            self._stop_requested = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, request_stop)

    def say(self, name: str, line: str) -> None:
        with self._lock, suppress(BrokenPipeError):
            self._output.write(f"{name:<8}| {line}\n")
            self._output.flush()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        keep: bool = False,
        is_server: bool = False,
        **options: Any,
    ) -> Program:
        """Start a program that runs until it is stopped. With `keep` its lines are stored instead of written.
        `options`: arguments for subprocess; they may replace our environment and folder."""
        options = {"env": self.environ, "cwd": self.folder, **options}
        process = subprocess.Popen(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if keep else subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        lines: list[str] = []
        receive: Callable[[str], None] = lines.append if keep else partial(self.say, name)
        reader = threading.Thread(target=_pass_on_lines, args=(process, receive), daemon=True)
        program = Program(name, process, reader, lines, is_server)
        self.programs.append(program)
        reader.start()
        return program

    def run(self, name: str, command: Sequence[str], *, keep: bool = False) -> list[str]:
        """Run a program to its end; return its lines if `keep`. Raises ProgramEnded if it, or another one, fails."""
        program = self.start(name, command, keep=keep)
        self.wait_until(lambda: program.process.poll() is not None, ending=program)
        program.reader.join()
        self.programs.remove(program)
        if program.process.returncode:
            raise ProgramEnded(f"{name} failed with status {program.process.returncode}.")
        return program.lines

    def wait_until(self, condition: Callable[[], bool], *, ending: Program | None = None) -> None:
        """Wait for a condition. Raises ProgramEnded if a program other than `ending` ends, or StopRequested."""
        while not condition():
            self.check(ending)
            time.sleep(POLL_SECONDS)

    def check(self, ending: Program | None = None) -> None:
        """Raise StopRequested after a signal, or ProgramEnded if a program other than `ending` has ended."""
        if self._stop_requested:
            raise StopRequested
        for program in self.programs:
            status = program.process.poll()
            if status is not None and program is not ending:
                how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                raise ProgramEnded(f"{program.name} ended {how}.")

    def stop(self) -> None:
        """Ask every program to end, servers last; then kill the rest."""
        servers = [program for program in self.programs if program.is_server]
        others = [program for program in self.programs if not program.is_server]
        for programs, number in ((others, signal.SIGTERM), (servers, signal.SIGINT)):
            for program in programs:
                if program.process.poll() is None:
                    with suppress(ProcessLookupError):
                        program.process.send_signal(number)
            deadline = time.monotonic() + STOP_SECONDS
            for program in programs:
                with suppress(subprocess.TimeoutExpired):
                    program.process.wait(max(0.0, deadline - time.monotonic()))
                with suppress(ProcessLookupError):
                    os.killpg(program.process.pid, signal.SIGKILL)
                program.process.wait()
                program.reader.join(timeout=1)
        self.programs.clear()


def _pass_on_lines(process: subprocess.Popen[bytes], receive: Callable[[str], None]) -> None:
    """Pass on the process's output line by line until it is closed."""
    if process.stdout is None:
        return
    with process.stdout:
        for line in process.stdout:
            receive(line.decode(errors="replace").rstrip())


def end_marked_processes(variable: str, value: str, *, servers: Collection[str] = ()) -> list[str]:
    """End every process with `variable=value` in its environment, servers last, as in `Supervisor.stop`. `servers`: the
    names of server programs. Returns the names of the ended processes."""
    marked: dict[bool, list[psutil.Process]] = {False: [], True: []}
    names = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # another user's process, or already ended
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                names.append(process.name())
                marked[names[-1] in servers].append(process)
    for is_server, processes in marked.items():
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT if is_server else signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS / 2)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=STOP_SECONDS / 2)
    return names
