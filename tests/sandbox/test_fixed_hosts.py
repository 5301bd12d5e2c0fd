"""Programs that have WeCom's hosts written into them: their calls, re-made, and the recipe of the guide, word by word.

What JumpServer (apps/common/sdk/im/wecom) and Casdoor (idp/wecom_internal.go, object/syncer_wecom.go) send and read was
taken from their sources in 2026; no line of theirs stands here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox_process import AGENTID, CORPID, ROOT, SECRET, SandboxHandle, company

API = "https://qyapi.weixin.qq.com/cgi-bin"
CONTACTS_SECRET = "sandbox-secret-of-contacts"


@pytest.fixture
def sandbox(wecom_hosts: SandboxHandle) -> SandboxHandle:
    return wecom_hosts


def code_of(sandbox: SandboxHandle, userid: str, **visit: object) -> str:
    address = "http://localhost:3001/core/auth/wecom/qr/login/callback/"
    return sandbox.authorize(CORPID, userid, redirect_uri=address, state="a1B2c3D4e5F6g7H8", **visit)["code"]


class JumpServer:
    """A connection for each call, the token kept by corp and secret, fetched anew after 40014, at most three times."""

    def __init__(self, timeout: int = 60) -> None:
        self._timeout = timeout
        self._renew()

    def _renew(self) -> None:
        query = {"corpid": CORPID, "corpsecret": SECRET}
        answer = requests.get(f"{API}/gettoken", params=query, timeout=self._timeout).json()
        self.token, self.lifetime = answer["access_token"], answer["expires_in"] - 10

    def call(self, method: str, path: str, query: dict[str, str], body: object = None) -> dict[str, Any]:
        for _ in range(3):
            query = query | {"access_token": self.token}
            response = requests.request(method, f"{API}/{path}", params=query, json=body, timeout=self._timeout)
            assert response.status_code == 200
            answer: dict[str, Any] = response.json()
            if answer["errcode"] != 40014:
                return answer
            self._renew()
        raise PermissionError(answer)

    def send(self, users: list[str], text: str, msgtype: str = "text") -> dict[str, Any]:
        body = {"touser": "|".join(users), "msgtype": msgtype, "agentid": str(AGENTID), msgtype: {"content": text}}
        return self.call("POST", "message/send", {}, body)


def test_jumpserver_signs_somebody_in(sandbox: SandboxHandle) -> None:
    client = JumpServer()
    code = code_of(sandbox, "lilei")

    answer = client.call("GET", "user/getuserinfo", {"code": code})
    assert (answer["errcode"], answer["UserId"]) == (0, "LiLei")
    member = client.call("GET", "user/get", {"userid": answer["UserId"]})
    assert (member["errcode"], member["userid"], member["name"]) == (0, "LiLei", "李雷")
    assert client.call("GET", "user/getuserinfo", {"code": code})["errcode"] == 40029
    assert client.lifetime > 0


def test_jumpserver_sends_with_the_agentid_as_text(sandbox: SandboxHandle) -> None:
    client = JumpServer()

    assert client.send(["lilei", "ghost"], "登录提醒")["invaliduser"] == "ghost"
    assert client.send(["lilei"], "**提醒**", "markdown")["errcode"] == 0
    assert client.send(["ghost"], "x")["errcode"] == 81013
    assert client.send([], "x")["errcode"] == 82001
    assert [one["msgtype"] for one in sandbox.messages(CORPID, "lilei")] == ["text", "markdown"]


def test_jumpserver_renews_a_token_that_became_unknown(sandbox: SandboxHandle) -> None:
    client = JumpServer()
    sandbox.control("POST", f"companies/{CORPID}/apps/{AGENTID}/invalidate", {"code": 40014})

    assert client.send(["lilei"], "x")["errcode"] == 0
    assert [one["errcode"] for one in sandbox.calls("message/send")] == [40014, 0]


def casdoor(path: str, body: object = None) -> dict[str, Any]:
    """One of Casdoor's calls: the query is put together by hand, the answer read into typed fields."""
    url = f"{API}/{path}"
    if body is None:
        return dict(requests.get(url, timeout=60).json())
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    return dict(requests.post(url, json=body, headers=headers, timeout=60).json())


def casdoor_token(secret: str = SECRET) -> str:
    return str(casdoor(f"gettoken?corpid={CORPID}&corpsecret={secret}")["access_token"])


def test_casdoor_signs_somebody_in(sandbox: SandboxHandle) -> None:
    token = casdoor_token()

    user = casdoor(f"user/getuserinfo?access_token={token}&code={code_of(sandbox, 'lilei')}")
    assert (user["errcode"], user["UserId"], user.get("OpenId", ""), user.get("user_ticket", "")) == (
        0,
        "LiLei",
        "",
        "",
    )
    assert casdoor(f"user/get?access_token={token}&userid={user['UserId']}")["name"] == "李雷"


def test_casdoor_reads_private_details(sandbox: SandboxHandle) -> None:
    token = casdoor_token()
    code = code_of(sandbox, "lilei", agentid=AGENTID, scope="snsapi_privateinfo")

    ticket = casdoor(f"user/getuserinfo?access_token={token}&code={code}")["user_ticket"]
    detail = casdoor(f"user/getuserdetail?access_token={token}", {"user_ticket": ticket})

    assert {name: detail[name] for name in ("errcode", "userid", "mobile")} == {
        "errcode": 0,
        "userid": "LiLei",
        "mobile": "13000000001",
    }


def test_casdoor_reads_the_directory_of_an_app(sandbox: SandboxHandle) -> None:
    """By department/list and user/list, into fields of Go's types."""
    token = casdoor_token()

    departments = casdoor(f"department/list?access_token={token}")["department"]
    assert [(one["id"], type(one["name"]), type(one["order"])) for one in departments] == [(2, str, int), (3, str, int)]
    people = [
        one
        for department in departments
        for one in casdoor(f"user/list?access_token={token}&department_id={department['id']}")["userlist"]
    ]
    assert [(one["userid"], one["department"], one["status"]) for one in people] == [
        ("LiLei", [2], 1),
        ("hanmeimei", [3], 1),
    ]


def test_casdoor_falls_back_to_the_lists_of_ids(sandbox: SandboxHandle) -> None:
    """With a new sync assistant's secret: user/list_id, page by page, as it does for apps made after 2022-08-15."""
    token = casdoor_token(CONTACTS_SECRET)

    numbers = [one["id"] for one in casdoor(f"department/simplelist?access_token={token}")["department_id"]]
    pages: list[dict[str, Any]] = []
    cursor = ""
    while not pages or cursor:
        pages.append(casdoor(f"user/list_id?access_token={token}", {"cursor": cursor, "limit": 10_000}))
        cursor = pages[-1]["next_cursor"]

    assert numbers == [1, 2, 3, 4]
    assert [(row["userid"], row["department"]) for page in pages for row in page["dept_user"]] == [
        ("LiLei", 2),
        ("hanmeimei", 3),
        ("hanmeimei", 4),
        ("jim", 4),
    ]


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
