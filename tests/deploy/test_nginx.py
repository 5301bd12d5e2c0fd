"""The site of nginx, checked by nginx itself."""

import http.client
import shutil
import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.nginx import configuration
from tests.e2e.stack import running
from tests.e2e.waiting import eventually
from tests.http_server import QuietHandler, serve_with_handler
from tests.programs import needs, run_program
from tools.services import free_port

pytestmark = [needs("nginx", package="nginx-light"), needs("openssl")]


@pytest.mark.parametrize("upstream", ["systemd", "compose"])
def test_nginx_understands_every_line(project_root: Path, tmp_path: Path, upstream: str) -> None:
    path = configuration(project_root, tmp_path, upstream=upstream)

    done = run_program(["nginx", "-t", "-q", "-p", tmp_path, "-c", path])

    assert (done.returncode, done.stderr) == (0, "")


class Echo(QuietHandler):
    """Answers with the id of the request."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Request-ID", self.headers["X-Request-ID"] or "none")
        self.end_headers()


def test_a_browser_does_not_choose_the_id_of_its_request(project_root: Path, tmp_path: Path) -> None:
    https = free_port()
    with ExitStack() as exits:
        servers = {"127.0.0.1:8000": f"127.0.0.1:{exits.enter_context(serve_with_handler(Echo))}"}
        path = configuration(project_root, tmp_path, upstream="systemd", ports=(free_port(), https), servers=servers)
        command = [str(shutil.which("nginx")), "-p", str(tmp_path), "-c", str(path)]
        nginx = exits.enter_context(running("nginx", command, env={}, folder=tmp_path, cwd=project_root))
        eventually((tmp_path / "nginx.pid").exists, [nginx])
        tls = ssl._create_unverified_context()  # noqa: S323  # this test signed it
        connection = http.client.HTTPSConnection("127.0.0.1", https, context=tls)
        connection.request("GET", "/", headers={"X-Request-ID": "of-my-own-choice"})
        found = connection.getresponse().headers["X-Request-ID"]
        connection.close()

    assert len(found) == len("0123456789abcdef" * 2)
    assert found in (tmp_path / "access.log").read_text(encoding="utf-8")
