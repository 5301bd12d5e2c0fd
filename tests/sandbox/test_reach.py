"""The certificate authority: its permitted names, its storage, and the guide's recipe for fixed hosts."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from wecom_sandbox.http.hosts import WECOM_HOSTS, Authority

from tests.sandbox_process import AGENTID, CORPID, ROOT, SECRET, company


def shake_hands(server: ssl.SSLContext, trusted: str, host: str) -> None:
    """Connect a client that trusts the CA to the server as `host`. Raise ssl.SSLError if it refuses."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=trusted)
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        side = sides.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            sides.append(side)


@pytest.mark.parametrize("host", [*WECOM_HOSTS, "localhost", "127.0.0.1", "::1", "my-box"])
def test_the_certificate_is_for_every_name(host: str) -> None:
    authority = Authority.new(["my-box"])

    shake_hands(authority.server_context(), authority.pem, host)


def test_who_trusts_the_authority_trusts_it_for_no_other_name_and_no_other_authority() -> None:
    """Guard against a lost key: it cannot stand in for another site."""
    authority = Authority.new()
    stolen = replace(authority, names=("bank.example.com",))

    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(stolen.server_context(), authority.pem, "bank.example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Authority.new().server_context(), authority.pem, "localhost")


def test_a_kept_authority_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ca"
    first = Authority.kept(folder)

    assert Authority.kept(folder).pem == first.pem
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shake_hands(Authority.kept(folder).server_context(), first.pem, "qyapi.weixin.qq.com")


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("ca-key.pem", "readable", r"ca-key\.pem can be read by others than its owner"),
        ("ca.pem", "broken", "cannot be read; delete both to get new ones"),
        ("ca-key.pem", "broken", "cannot be read; delete both to get new ones"),
        ("ca.pem", "foreign", "do not belong together"),
        ("", "", r"ca\.pem is not for my-box; delete it and ca-key\.pem"),
    ],
)
def test_a_kept_authority_that_is_not_usable_is_told(tmp_path: Path, name: str, change: str, complaint: str) -> None:
    Authority.kept(tmp_path)
    if change == "readable":
        (tmp_path / name).chmod(0o640)
    elif change:
        (tmp_path / name).write_text(Authority.new().pem if change == "foreign" else "-----BEGIN NOTHING-----\n")

    with pytest.raises(ValueError, match=complaint):
        Authority.kept(tmp_path, ["my-box"])


NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
PROGRAM = f"""
from wechatpy.enterprise import WeChatClient
client = WeChatClient({CORPID!r}, {SECRET!r}, timeout=60)
print(client.message.send_text({AGENTID}, ["lilei"], "hello")["errcode"])
"""


def recipe(language: str) -> str:
    """Return the guide's commands with sudo, for programs that look names up in /etc/hosts."""
    text = (ROOT / "docs" / language / "sandbox.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    return next(block for block in blocks if "/etc/hosts" in block)


def has_namespaces() -> bool:
    """Return whether this machine permits a network namespace with our own /etc/hosts, and has `ip` (Linux)."""
    tried = [*NAMESPACE, "ip", "link"]
    return shutil.which(tried[0]) is not None and not subprocess.run(tried, capture_output=True, check=False).returncode


def test_the_recipe_of_both_guides_works(tmp_path: Path) -> None:
    """Run the printed commands in a network and with an /etc/hosts that nobody else sees."""
    commands = [[line.partition(" #")[0] for line in recipe(language).splitlines()] for language in ("en", "zh-cn")]
    assert commands[0] == commands[1]
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
