"""py-easy-wecom, a program we did not write, sends as an app and as a group robot, through httpx.

It is installed into an environment of its own: its httpx and redis are not to decide which versions ours has.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nightly import nightly
from tests.sandbox.test_other_calls import PNG
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle

pytestmark = nightly

# Each package that it needs, so that the same ones are installed next year.
PACKAGES = [
    "py-easy-wecom==3.0.3",
    "py-easy-httpx==3.0.2",
    "httpx==0.28.1",
    "httpcore==1.0.9",
    "anyio==4.16.0",
    "h11==0.16.0",
    "idna==3.20",
    "certifi==2026.10.19.post1",
    "diskcache==5.6.3",
    "redis==8.1.0",
    "decorator==5.3.1",
    "jsonpath-ng==1.16.0",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "referencing==0.37.0",
    "rpds-py==2026.9.1",
    "attrs==26.1.0",
    "typing_extensions==4.16.0",
]
# Its methods answer None for every failure. A token that WeCom calls invalid is found by get_api_domain_ip.
PROGRAM = """
import json
import sys

import diskcache
from py_easy_wecom.server import Server
from py_easy_wecom.server.media import Media
from py_easy_wecom.server.message import Message
from py_easy_wecom.webhook import Webhook

given = json.load(sys.stdin)
app = {name: given[name] for name in ("base_url", "corpid", "corpsecret", "agentid")}
cache = diskcache.Cache(given["folder"])
kept = {"cache_config": {"instance": cache}}


def send(text, touser="lilei"):
    client = Message(**app, **kept)
    client.refresh_access_token()
    document = {"touser": touser, "agentid": given["agentid"], "msgtype": "text", "text": {"content": text}}
    return client.send(json=document)


def send_picture():
    client = Media(**app, **kept)
    client.refresh_access_token()
    media_id = client.upload(file_type="image", files={"media": ("a.png", bytes.fromhex(given["picture"]))})
    document = {"touser": "lilei", "agentid": given["agentid"], "msgtype": "image", "image": {"media_id": media_id}}
    return Message.send(client, json=document)


def send_spoilt():
    key = f"py_easy_wecom_server_{given['corpid']}_{given['agentid']}"
    cache.set(key, "spoilt")
    return send("again")


def send_as_robot(key):
    robot = Webhook(base_url=given["base_url"], key=key)
    return robot.send(json={"msgtype": "text", "text": {"content": "from the robot"}})


def addresses():
    client = Server(**app)
    client.refresh_access_token()
    return [len(client.get_api_domain_ip()) > 0, len(client.get_callback_ip()) > 0]


answers = {
    "text": send("hello"),
    "picture": send_picture(),
    "spoilt": send_spoilt(),
    "nobody": send("lost", "ghost"),
    "robot": send_as_robot("robot-key"),
    "unknown robot": send_as_robot("no-such-key"),
    "addresses": addresses(),
    "wrong secret": Server(**app | {"corpsecret": "wrong"}).refresh_access_token().access_token,
}
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment that has PACKAGES and nothing else."""
    folder = tmp_path_factory.mktemp("py-easy-wecom") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
    program = folder / "bin" / "python"
    command = [str(program), "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", *PACKAGES]
    subprocess.run(command, check=True, timeout=600)
    subprocess.run([program, "-m", "pip", "check"], check=True, timeout=300)
    return program


def test_it_sends_as_an_app_and_as_a_robot(sandbox: SandboxHandle, python: Path, tmp_path: Path) -> None:
    sandbox.control("POST", f"companies/{CORPID}/robots", [{"key": "robot-key", "name": "日报"}])
    given = {"base_url": sandbox.url, "corpid": CORPID, "corpsecret": SECRET, "agentid": AGENTID}
    given |= {"folder": str(tmp_path / "cache"), "picture": PNG.hex()}

    ended = subprocess.run(
        [python, "-c", PROGRAM],
        input=json.dumps(given),
        env={"NO_PROXY": "*", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout)
    shown = sandbox.messages(CORPID, "lilei")
    assert [one["msgtype"] for one in shown] == ["text", "image", "text"]
    assert [answers[name] for name in ("text", "picture", "spoilt")] == [one["msgid"] for one in shown]
    assert [shown[0]["text"]["content"], shown[2]["text"]["content"]] == ["hello", "again"]
    assert shown[1]["image"]["filename"] == "a.png"
    [posted] = [one for one in sandbox.listed(f"companies/{CORPID}/messages", "messages") if one["robot"]]
    assert (posted["robot"], posted["text"]["content"]) == ("robot-key", "from the robot")
    assert answers["robot"]["errcode"] == 0
    assert (answers["nobody"], answers["unknown robot"], answers["wrong secret"]) == (None, None, "")
    assert answers["addresses"] == [True, True]
