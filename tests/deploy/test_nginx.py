"""The site of nginx, by nginx's own reading of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.nginx import configuration

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@pytest.mark.parametrize("upstream", ["systemd", "compose"])
def test_nginx_understands_every_line(project_root: Path, tmp_path: Path, upstream: str) -> None:
    path = configuration(project_root, tmp_path, upstream=upstream)

    done = subprocess.run(
        ["nginx", "-t", "-q", "-p", str(tmp_path), "-c", str(path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
