"""The directory as encrypted files: who sees what in them, how they are read, how long they are there."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.sandbox.conftest import Api
from tests.sandbox.receiver import Receiver
from tests.sandbox_process import AGENTID, SandboxHandle

KEY = "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aQ"


def start(api: Api, path: str, **values: object) -> dict[str, Any]:
    return api.post(path, {"encoding_aeskey": KEY, **values})


def files(api: Api, path: str, **values: object) -> list[dict[str, Any]]:
    jobid = start(api, path, **values)["jobid"]
    assert api.get("export/get_result", jobid=jobid) == {"errcode": 0, "errmsg": "ok", "status": 1}
    answer = api.get("export/get_result", jobid=jobid)
    assert answer["status"] == 2
    return list(answer["data_list"])


def read(sandbox: SandboxHandle, file: dict[str, Any]) -> dict[str, Any]:
    body = sandbox.session.get(file["url"], timeout=60).content
    assert (len(body), hashlib.md5(body, usedforsecurity=False).hexdigest()) == (file["size"], file["md5"])
    key = base64.b64decode(KEY + "=")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    padded = decryptor.update(body) + decryptor.finalize()
    assert (len(padded) % 32, 1 <= padded[-1] <= 32) == (0, True)
    return dict(json.loads(padded[: -padded[-1]]))


def test_members_as_the_app_sees_them(api: Api, sandbox: SandboxHandle) -> None:
    [simple] = files(api, "export/simple_user")
    [whole] = files(api, "export/user")

    assert read(sandbox, simple)["userlist"] == [
        {"userid": "LiLei", "name": "李雷", "department": [2]},
        {"userid": "hanmeimei", "name": "韩梅梅", "department": [3]},
    ]
    rows = read(sandbox, whole)["userlist"]
    assert [row["position"] for row in rows] == ["经理", ""]
    assert "mobile" not in rows[0]


def test_departments_and_a_tag(api: Api, contacts: Api, sandbox: SandboxHandle) -> None:
    [departments] = files(contacts, "export/department", block_size=10_000)
    [tag] = files(api, "export/taguser", tagid=1)

    assert [row["id"] for row in read(sandbox, departments)["department"]] == [1, 2, 3, 4]
    assert read(sandbox, tag) == {"taguser": [{"userid": "LiLei", "name": "李雷"}, {"partyid": 3}]}


def test_a_file_is_no_media(api: Api) -> None:
    [file] = files(api, "export/simple_user")
    media_id = file["url"].rpartition("/")[2]

    assert api.get("media/get", media_id=media_id)["errcode"] == 40007


def test_a_file_is_there_for_two_hours(api: Api, sandbox: SandboxHandle) -> None:
    [file] = files(api, "export/simple_user")
    sandbox.advance(7000)
    assert sandbox.session.get(file["url"], timeout=60).status_code == 200
    sandbox.advance(200)

    assert sandbox.session.get(file["url"], timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"encoding_aeskey": ""}, 40063),
        ({"encoding_aeskey": KEY[:42]}, 40058),
        ({"encoding_aeskey": "!" * 43}, 40058),
        ({"block_size": 9_999}, 40058),
        ({"block_size": 1_000_001}, 40058),
        ({"tagid": 99}, 40068),
    ],
)
def test_refused_exports(api: Api, values: dict[str, Any], errcode: int) -> None:
    assert start(api, "export/taguser", **({"tagid": 1} | values))["errcode"] == errcode


def test_an_export_is_its_callers(api: Api, contacts: Api) -> None:
    jobid = start(api, "export/simple_user")["jobid"]

    assert contacts.get("export/get_result", jobid=jobid)["errcode"] == 40088


def test_the_app_is_told_when_an_export_is_done(api: Api, receiver: Receiver) -> None:
    jobid = start(api, "export/user")["jobid"]
    [event] = receiver.wait(1)

    assert event["BatchJob"] == {"JobId": jobid, "JobType": "export_user", "ErrCode": "0", "ErrMsg": "ok"}
    assert event["AgentID"] == str(AGENTID)
    assert api.get("export/get_result", jobid=jobid)["status"] == 2
