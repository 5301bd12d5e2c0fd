"""Programs that have WeCom's hosts written into them: the recipe of the guide, word by word."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox_process import AGENTID, CORPID, ROOT, SECRET, SandboxHandle, company


@pytest.fixture
def sandbox(wecom_hosts: SandboxHandle) -> SandboxHandle:
    return wecom_hosts


NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
PROGRAM = f"""
from wechatpy.enterprise import WeChatClient
client = WeChatClient({CORPID!r}, {SECRET!r}, timeout=60)
print(client.message.send_text({AGENTID}, ["lilei"], "hello")["errcode"])
"""


def recipe(language: str) -> str:
    """The commands of the guide, with sudo, for programs that look names up in /etc/hosts."""
    text = (ROOT / "docs" / language / "sandbox.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    return next(block for block in blocks if "/etc/hosts" in block)


def test_both_languages_have_the_same_recipe() -> None:
    commands = [[line.partition(" #")[0] for line in recipe(language).splitlines()] for language in ("en", "zh-cn")]

    assert commands[0] == commands[1]


def has_namespaces() -> bool:
    """Whether this machine lets us have a network, which `ip` begins, and an /etc/hosts of our own (Linux)."""
    tried = [*NAMESPACE, "ip", "link"]
    return shutil.which(tried[0]) is not None and not subprocess.run(tried, capture_output=True, check=False).returncode


def test_the_recipe_of_the_guide_works(tmp_path: Path) -> None:
    """Its commands as they stand there, in a network and with an /etc/hosts that nobody else sees."""
    if not has_namespaces():
        pytest.skip("this machine gives no namespaces or has no program ip: the recipe for /etc/hosts was not tried")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
    (tmp_path / "seed.json").write_text(json.dumps({"companies": [company()]}), encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    *preparation, start = recipe("en").splitlines()
    script = [
        'sudo() { "$@"; }',
        "ip link set lo up",
        "mount --bind hosts /etc/hosts",
        *preparation,
        f"{start} --seed seed.json > started &",
        "trap 'kill $!; wait' EXIT",
        "until grep -q TLS started; do sleep 0.1; done",
        "REQUESTS_CA_BUNDLE=~/.wecom-sandbox/ca.pem python program.py",
    ]
    ended = subprocess.run(
        [*NAMESPACE, "bash", "-e", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.stdout.splitlines()[-1] == "0", ended.stderr
    assert stat.S_IMODE((tmp_path / ".wecom-sandbox" / "ca-key.pem").stat().st_mode) == 0o600
