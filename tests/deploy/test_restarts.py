"""Restarts under traffic: no request fails, and no message is lost or doubled."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from notifications.models import Report, Run, Subscription
from tests.crowd import count_messages_by_person, expect_one_each, run_crowd
from tests.deploy.commands import composed, of_units
from tests.deploy.nginx import configuration
from tests.e2e.stack import BIN, READY_SECONDS, Program, Stack, running, wait_for_http
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.programs import needs
from tools.services import free_port

pytestmark = [nightly, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
PEOPLE = 24
# As systemd does: the socket is number 3, and LISTEN_PID is the pid that the started program keeps.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def stop_seconds(root: Path, unit: str) -> int:
    """Return how many seconds systemd waits for the unit to end before it kills it."""
    text = (root / "deploy" / "systemd" / unit).read_text(encoding="utf-8")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    return int(seconds)


class Webs:
    """guanwecom-web.socket, and the services that it starts."""

    def __init__(self, root: Path, env: dict[str, str], folder: Path) -> None:
        self.root, self.folder = root, folder
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ready.bind(str(folder / "notify"))
        self.ready.settimeout(READY_SECONDS)
        self.env = {**env, "NOTIFY_SOCKET": str(folder / "notify")}

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @contextmanager
    def started(self, name: str) -> Iterator[Program]:
        """Start the unit's command and wait until it reports that it is ready, as systemd does."""
        command = of_units(self.root)["web-1"]
        words = [str(BIN / command.words[0]), *command.words[1:], "--worker-tmp-dir", str(self.folder)]
        number = self.listener.fileno()
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", ACTIVATE, str(number), *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**self.env, **command.environment},
                cwd=self.root,
                pass_fds=[number],
            )
        program = Program(name, process, log)
        try:
            assert self.ready.recv(1000) == b"READY=1", program.tail()
            yield program
        finally:
            program.stop()

    def close(self) -> None:
        self.listener.close()
        self.ready.close()


class Traffic:
    """Requests from several threads, nearly without a pause, with new connections, while the block runs."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.port, self.tls = port, tls
        self.outcomes: Counter[str] = Counter()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(method,)) for method in ("GET", "POST") * 2]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def more(self) -> None:
        before = self.outcomes.total()
        eventually(lambda: self.outcomes.total() > before + 8)

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=READY_SECONDS, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=READY_SECONDS)

    def _ask(self, method: str) -> None:
        while not self._is_over.wait(0.02):
            connection = self._connection()
            try:
                connection.request(method, "/login/", headers={"Host": "testserver"})
                with connection.getresponse() as answer:
                    answer.read()
                    outcome = f"{method} {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                outcome = f"{method} {type(error).__name__}"
            finally:
                connection.close()
            self.outcomes[outcome] += 1


def test_while_webs_restart_one_after_the_other_no_request_fails(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    webs = Webs(project_root, process_environ, tmp_path)
    with ExitStack() as exits:
        exits.callback(webs.close)
        first, second = (exits.enter_context(webs.started(name)) for name in ("first", "second"))
        with Traffic(webs.port) as traffic:
            traffic.more()
            first.stop(stop_seconds(project_root, "guanwecom-web@.service"))
            traffic.more()
            exits.enter_context(webs.started("first again"))
            second.stop(stop_seconds(project_root, "guanwecom-web@.service"))
            traffic.more()

    assert first.process.returncode == second.process.returncode == 0
    assert set(traffic.outcomes) == {"GET 200", "POST 403"}  # a form without its token is refused


# It replaces Docker: `exec nginx` runs here, and `up web-N` waits until the test has replaced that web.
DOCKER = """#!/bin/sh
case "$*" in
"compose exec -T nginx sed -i "*) exec sed -i "$7" {folder}/conf.d/guanwecom-upstream.conf ;;
"compose exec -T nginx nginx -s reload") exec nginx -p {folder} -c {folder}/nginx.conf -s reload ;;
"compose up --detach --no-deps --wait web-"*)
    touch {folder}/replace-"$6"
    while [ -e {folder}/replace-"$6" ]; do sleep 0.1; done ;;
*) echo "docker: $*" >&2; exit 1 ;;
esac
"""


@needs("nginx", package="nginx-light")
@needs("openssl")
def test_while_compose_replaces_web_containers_no_request_fails(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    port, https = free_port(), free_port()
    servers = {f"172.31.250.1{number}:8000": f"127.0.0.{number}:{port}" for number in (1, 2)}
    path = configuration(project_root, tmp_path, upstream="compose", ports=(free_port(), https), servers=servers)
    (tmp_path / "docker").write_text(DOCKER.format(folder=tmp_path))
    (tmp_path / "docker").chmod(0o755)
    script = (project_root / "deploy/compose/restart-web.sh").read_text(encoding="utf-8")
    script = script.replace("172.31.250.1$number:8000", f"127.0.0.$number:{port}")
    words = composed(project_root)["web-1"].words
    env = {**process_environ, "PATH": f"{tmp_path}:{process_environ['PATH']}"}
    with ExitStack() as exits:

        def start(name: str, *command: str) -> Program:
            return exits.enter_context(running(name, list(command), env=env, folder=tmp_path, cwd=project_root))

        def start_web(number: int) -> Program:
            address = f"127.0.0.{number}:{port}"
            options = [word.replace("0.0.0.0:8000", address) for word in words[1:]]
            web = start(f"web-{number}", str(BIN / words[0]), *options, "--worker-tmp-dir", str(tmp_path))
            wait_for_http(f"http://{address}/healthz/live", web)
            return web

        webs = {number: start_web(number) for number in (1, 2)}
        nginx = start("nginx", "nginx", "-p", str(tmp_path), "-c", str(path))
        eventually((tmp_path / "nginx.pid").exists, [nginx])  # the file is written once nginx listens
        with Traffic(https, tls=ssl._create_unverified_context()) as traffic:  # noqa: S323  # this test signed it
            traffic.more()
            restart = start("restart", "sh", "-c", script)
            for number, web in webs.items():
                asked = tmp_path / f"replace-web-{number}"
                eventually(asked.exists, [restart])
                web.stop(stop_seconds(project_root, "guanwecom-web@.service"))
                traffic.more()
                start_web(number)
                asked.unlink()
            assert restart.process.wait(READY_SECONDS) == 0, restart.tail()
            traffic.more()

    assert set(traffic.outcomes) == {"GET 200", "POST 403"}


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    """A company whose calls take a while. No worker or beat runs yet."""
    env = {**process_environ, "SEND_PARALLEL_PER_TASK": "2"}
    with run_crowd(PEOPLE, env=env, root=project_root, folder=tmp_path) as stack:
        yield stack


def test_a_worker_that_is_stopped_ends_its_messages_and_another_goes_on(stack: Stack, project_root: Path) -> None:
    stack.sandbox.fault("slow", "message/send", seconds=0.3, count=None)
    report = Report.objects.create(title="日报", body="今天一切正常。")
    slot = datetime.now(UTC).replace(second=0, microsecond=0)
    for person in get_user_model().objects.all():
        Subscription.objects.create(
            name=person.username, report=report, crontab=f"{slot.minute} {slot.hour} * * *", time_zone="UTC"
        ).users.add(person)
    Subscription.objects.update(next_run_at=slot)
    with ExitStack() as exits:
        first = stack.start_worker(exits, "first")
        stack.start_beat(exits)
        eventually(lambda: stack.sandbox.calls("message/send"), stack.programs.values())

        first.stop(stop_seconds(project_root, "guanwecom-worker.service"))
        sent_by_first = len(stack.sandbox.calls("message/send"))
        stack.start_worker(exits, "second")
        eventually(lambda: Run.objects.filter(status="finished").count() == PEOPLE, stack.programs.values())

    assert first.process.returncode == 0  # it ended by itself
    assert 0 < sent_by_first < PEOPLE
    assert count_messages_by_person(stack) == expect_one_each(PEOPLE)
