"""The site of nginx, checked by nginx itself."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.deploy.nginx import configuration
from tests.e2e.stack import running
from tests.e2e.waiting import eventually
from tests.programs import needs
from tools.services import free_port

pytestmark = [needs("nginx", package="nginx-light"), needs("openssl")]


@pytest.mark.parametrize("upstream", ["systemd", "compose"])
def test_nginx_understands_every_line(project_root: Path, tmp_path: Path, upstream: str) -> None:
    path = configuration(project_root, tmp_path, upstream=upstream)

    done = subprocess.run(
        ["nginx", "-t", "-q", "-p", str(tmp_path), "-c", str(path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


class Echo(BaseHTTPRequestHandler):
    """Answers with the id of the request."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Request-ID", self.headers["X-Request-ID"] or "none")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


def test_a_browser_does_not_choose_the_id_of_its_request(project_root: Path, tmp_path: Path) -> None:
    https, web = free_port(), HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    servers = {"127.0.0.1:8000": f"127.0.0.1:{web.server_port}"}
    ports = (free_port(), https)
    path = configuration(project_root, tmp_path, upstream="systemd", ports=ports, servers=servers)
    command = [str(shutil.which("nginx")), "-p", str(tmp_path), "-c", str(path)]

    with running("nginx", command, env={}, folder=tmp_path, cwd=project_root) as nginx:
        eventually((tmp_path / "nginx.pid").exists, [nginx])
        tls = ssl._create_unverified_context()  # noqa: S323  # this test signed it
        connection = http.client.HTTPSConnection("127.0.0.1", https, context=tls)
        connection.request("GET", "/", headers={"X-Request-ID": "of-my-own-choice"})
        found = connection.getresponse().headers["X-Request-ID"]
        connection.close()
    web.shutdown()
    web.server_close()

    assert len(found) == len("0123456789abcdef" * 2)
    assert found in (tmp_path / "access.log").read_text(encoding="utf-8")
