"""The database goes away from real processes: operators are told once by mail and robot, and once when it is back."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.guanwecom.operations.test_standstill import mails
from tests.notifications.wire import Wire
from tests.sandbox_process import start_sandbox

PASSWORD = "invented-password-of-a-database"
pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


class Relay:
    """A port that leads to a server, until it is cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, and each new one at once."""
        self._is_cut = True
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _address = self._listener.accept()
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            sink.sendall(received)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def test_every_command_says_in_one_line_that_it_is_away(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    env = {**process_environ, "DATABASE_URL": f"postgresql://guanwecom:{PASSWORD}@127.0.0.1:1/guanwecom"}
    commands = [
        *(["upgrade", "--check"], ["installation"], ["backup", str(tmp_path / "backup")]),
        *(["changepassword", "root"], ["support_bundle", str(tmp_path / "support.zip")]),
    ]
    programs = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command],
            env=env,
            cwd=project_root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]

    said = [program.communicate() for program in programs]

    assert [program.returncode for program in programs] == [1, 1, 1, 1, 0], said
    for _output, error in said[:-1]:
        assert re.fullmatch("The database does not answer: .*Connection refused.*\n", error)
    with zipfile.ZipFile(tmp_path / "support.zip") as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert parts.keys() == {"about.json", "settings.json"}
    assert "Connection refused" in json.loads(parts["about.json"])["database"]
    assert PASSWORD not in "".join([*parts.values(), *(text for both in said for text in both)])


def test_a_database_that_is_away_is_told_once_and_so_is_its_end(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path, wire: Wire
) -> None:
    parts = urlsplit(process_environ["DATABASE_URL"])
    target = (parts.hostname or "", parts.port or 5432)
    with start_sandbox() as sandbox, closing(Relay(target)) as relay, ExitStack() as exits:
        netloc = f"{parts.netloc.rpartition(':')[0]}:{relay.port}"
        ours = {
            "DATABASE_URL": urlunsplit(parts._replace(netloc=netloc)),
            **{"EMAIL_URL": "consolemail://", "OPERATOR_EMAILS": "ops@example.com"},
            "OPERATOR_ROBOT_URL": f"{wire.url}/cgi-bin/webhook/send?key=0a1b2c3d",
        }
        stack = Stack(env={**process_environ, **ours}, root=project_root, folder=tmp_path, sandbox=sandbox)
        stack.start_web(exits)
        stack.start_worker(exits)
        stack.start_beat(exits)

        relay.cut()
        eventually(lambda: len(wire.bodies) == 1, stack.programs.values())
        relay.mend()
        eventually(lambda: len(wire.bodies) == 2, stack.programs.values())

    told = [json.loads(body)["text"]["content"] for body in wire.bodies]
    assert [text.splitlines()[0] for text in told] == ["数据库没有响应", "数据库已恢复响应"]
    assert len(mails(stack)) == 2
    assert not [path for path in tmp_path.glob("*.log") if "0a1b2c3d" in path.read_text(errors="replace")]
