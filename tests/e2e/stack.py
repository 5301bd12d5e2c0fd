"""The product's processes for browser tests: web, worker, beat and the sandbox, as real programs on free ports."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.log_secrets import check_program
from tests.sandbox_process import SandboxHandle, start_sandbox
from tools.services import free_port

BIN = Path(sys.executable).parent
# The program with the commands `worker` and `beat`.
PROGRAM = (sys.executable, "-m", "guanwecom")
# A busy machine starts Python slowly. Tests that pass do not wait that long.
READY_SECONDS = 120
STOP_SECONDS = 20


class ProcessFailed(AssertionError):
    """A program ended or did not answer. The text contains the end of its log."""


@dataclass
class Program:
    """A running program that writes its output to a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """Kill the program, as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def ask_to_stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the program to end (SIGTERM) as a service manager does. Kill it after `seconds`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def running(name: str, command: list[str], *, env: dict[str, str], folder: Path, cwd: Path) -> Iterator[Program]:
    """Run a program that logs from DEBUG on. The log is searched for secrets when the program ends."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=env | {"LOG_LEVEL": "DEBUG"}, cwd=cwd
        )
    program = Program(name, process, log)
    try:
        yield program
    finally:
        program.stop()
        check_program(name, log)


def wait_for_http(url: str, program: Program) -> None:
    """Wait until `url` answers anything at all. Raises ProcessFailed with the program's log."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if program.process.poll() is not None:
            raise ProcessFailed(f"{program.name} ended:\n{program.tail()}")
        try:
            requests.get(url, timeout=60)
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return
    raise ProcessFailed(f"{program.name} does not answer at {url}:\n{program.tail()}")


def wait_for_log(text: str, program: Program) -> None:
    """Wait until the program has logged `text`. Raises ProcessFailed with the program's log."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if text in program.log.read_text(errors="replace"):
            return
        if program.process.poll() is not None:
            raise ProcessFailed(f"{program.name} ended:\n{program.tail()}")
        time.sleep(0.1)
    raise ProcessFailed(f"{program.name} never said {text!r}:\n{program.tail()}")


@dataclass
class Stack:
    """A running product. The web is on localhost and the sandbox on 127.0.0.1, which are two sites for cookies."""

    env: dict[str, str]
    root: Path
    folder: Path
    sandbox: SandboxHandle
    web_port: int = field(default_factory=free_port)
    # The command that starts worker and beat.
    celery: Sequence[str] = PROGRAM
    programs: dict[str, Program] = field(default_factory=dict)

    @property
    def web_url(self) -> str:
        return f"http://localhost:{self.web_port}"

    def start(self, name: str, command: list[str], exits: ExitStack) -> Program:
        program = exits.enter_context(running(name, command, env=self.env, folder=self.folder, cwd=self.root))
        self.programs[name] = program
        return program

    def begin_web(self, exits: ExitStack) -> Program:
        """Start the web process. Like the other `begin_` methods, do not wait until it is ready."""
        bind = f"127.0.0.1:{self.web_port}"
        options = ["--bind", bind, "--threads", "8", "--worker-tmp-dir", str(self.folder)]
        return self.start("web", [str(BIN / "gunicorn"), "guanwecom.wsgi", *options], exits)

    def wait_for_web(self) -> None:
        wait_for_http(f"http://127.0.0.1:{self.web_port}/healthz", self.programs["web"])

    def start_web(self, exits: ExitStack) -> Program:
        web = self.begin_web(exits)
        self.wait_for_web()
        return web

    def start_worker(self, exits: ExitStack, name: str = "worker", *, concurrency: int = 8) -> Program:
        program = self.begin_worker(exits, name, concurrency=concurrency)
        wait_for_log("ready.", program)
        return program

    def begin_worker(self, exits: ExitStack, name: str = "worker", *, concurrency: int = 8) -> Program:
        options = ["--pool", "threads", "--concurrency", str(concurrency), "--loglevel", "INFO", "-n", f"{name}@%h"]
        return self.start(name, [*self.celery, "worker", *options], exits)

    def start_charts_worker(self, exits: ExitStack) -> Program:
        """Start a worker that only makes pictures and files (docs/en/charts.md)."""
        options = ["--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO", "-Q", "charts", "-n", "charts@%h"]
        program = self.start("charts", [*self.celery, "worker", *options], exits)
        wait_for_log("ready.", program)
        return program

    def start_beat(self, exits: ExitStack, name: str = "beat") -> Program:
        program = self.begin_beat(exits, name)
        wait_for_log("is starting", program)
        return program

    def begin_beat(self, exits: ExitStack, name: str = "beat") -> Program:
        pid_file = str(self.folder / f"{name}.pid")
        return self.start(name, [*self.celery, "beat", "--loglevel", "INFO", "--pidfile", pid_file], exits)


@contextmanager
def running_stack(*, env: dict[str, str], root: Path, folder: Path) -> Iterator[Stack]:
    """Start all programs at once. At the end ask all to stop, and wait for them in reverse order."""
    with ExitStack() as exits:
        stack = Stack(env=env, root=root, folder=folder, sandbox=exits.enter_context(start_sandbox()))
        web, worker, beat = stack.begin_web(exits), stack.begin_worker(exits), stack.begin_beat(exits)
        stack.wait_for_web()
        wait_for_log("ready.", worker)
        wait_for_log("is starting", beat)
        yield stack
        for program in (beat, worker, web):
            program.ask_to_stop()
