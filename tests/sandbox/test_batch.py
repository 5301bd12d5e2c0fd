"""Invitations, and the directory from CSV files: what each row gets, who is gone afterwards, who is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wecom_sandbox.api.call import Request, answer
from wecom_sandbox.state import administration
from wecom_sandbox.state.files import Media
from wecom_sandbox.state.world import World

from tests.sandbox.conftest import Api
from tests.sandbox.receiver import Receiver, listening
from tests.sandbox_process import CORPID, SandboxHandle, company

HEAD = "姓名,帐号,微信号,手机号,邮箱,所在部门,职位\n"
PARTIES = "部门名称,部门ID,父部门ID,排序\n"


def upload(api: Api, text: str | bytes) -> str:
    body = text if isinstance(text, bytes) else text.encode()
    query = {"access_token": api.token(), "type": "file"}
    answer = api.raw("POST", "media/upload", params=query, files={"media": ("people.csv", body)}).json()
    return str(answer["media_id"])


def run(contacts: Api, path: str, text: str) -> dict[str, Any]:
    """The result of the job."""
    started = contacts.post(path, {"media_id": upload(contacts, text)})
    assert started["errcode"] == 0, started
    first = contacts.get("batch/getresult", jobid=started["jobid"])
    assert (first["status"], first["percentage"], first["result"]) == (1, 0, [])
    return contacts.get("batch/getresult", jobid=started["jobid"])


def members(sandbox: SandboxHandle) -> dict[str, Any]:
    return {row["userid"]: row for row in sandbox.control("GET", f"companies/{CORPID}")["members"]}


def test_a_file_adds_and_changes_members(contacts: Api, sandbox: SandboxHandle) -> None:
    rows = "李磊,lilei,,,,,总监\n露西,Lucy,,13000000009,,2;4,\n,Bad,,13000000008,,2,\n无名,Two,,x,,2,\n"

    answer = run(contacts, "batch/syncuser", HEAD + rows)

    assert answer == {
        "errcode": 0,
        "errmsg": "ok",
        "status": 3,
        "type": "sync_user",
        "total": 4,
        "percentage": 100,
        "result": [
            {"userid": "lilei", "errcode": 0, "errmsg": "ok"},
            {"userid": "Lucy", "errcode": 0, "errmsg": "ok"},
            {"userid": "Bad", "errcode": 60112, "errmsg": "invalid member name"},
            {"userid": "Two", "errcode": 60103, "errmsg": "invalid mobile"},
        ],
    }
    found = members(sandbox)
    assert set(found) == {"LiLei", "hanmeimei", "jim", "Lucy"}
    assert (found["LiLei"]["name"], found["LiLei"]["position"], found["LiLei"]["mobile"]) == (
        "李磊",
        "总监",
        "13000000001",
    )
    assert (found["Lucy"]["department"], found["Lucy"]["status"]) == ([2, 4], 4)


def test_a_whole_file_deletes_who_is_not_in_it(contacts: Api, sandbox: SandboxHandle) -> None:
    answer = run(contacts, "batch/replaceuser", "﻿" + HEAD + "李雷,LILEI,,,,,\n")

    assert (answer["type"], answer["total"]) == ("replace_user", 3)
    assert {row["userid"] for row in answer["result"]} == {"LILEI", "hanmeimei", "jim"}
    assert set(members(sandbox)) == {"LiLei"}


def test_a_file_of_departments(contacts: Api) -> None:
    rows = "北山制造,1,,\n销售一部,2,1,\n华东区,3,1,20\n研发部,7,2,\n坏,8,99,\n"

    answer = run(contacts, "batch/replaceparty", PARTIES + rows)

    assert [(row["partyid"], row["action"], row["errcode"]) for row in answer["result"]] == [
        (1, 0, 0),
        (2, 2, 0),
        (3, 4 + 8, 0),
        (7, 1, 0),
        (8, 1, 60004),
    ]
    found = contacts.get("department/simplelist")["department_id"]
    # People stand in 4, so it stays although the file does not name it.
    assert [(row["id"], row["parentid"]) for row in found] == [(1, 0), (2, 1), (3, 1), (4, 1), (7, 2)]
    run(contacts, "batch/replaceparty", PARTIES + "销售一部,2,1,\n")
    assert [row["id"] for row in contacts.get("department/simplelist")["department_id"]] == [1, 2, 3, 4]


def test_a_department_without_an_id_is_not_made(contacts: Api) -> None:
    answer = run(contacts, "batch/replaceparty", PARTIES + "甲部,abc,1,1\n乙部,,1,1\n")

    refused = {"action": 1, "partyid": 0, "errcode": 60123, "errmsg": "invalid party id"}
    assert answer["result"] == [refused, refused]


@pytest.mark.parametrize(
    ("text", "errcode"),
    [("", 40092), ("姓名,部门\n李雷,2\n", 40092), (HEAD.encode("gb18030"), 40092), (HEAD + 'x,"y', 40092)],
)
def test_files_that_are_no_such_table(contacts: Api, text: str | bytes, errcode: int) -> None:
    media_id = upload(contacts, text or " " * 6)

    assert contacts.post("batch/syncuser", {"media_id": media_id})["errcode"] == errcode


@pytest.mark.parametrize(
    ("values", "errcode"),
    [({}, 41006), ({"media_id": "x"}, 40007), ({"callback": {"url": "http://127.0.0.1/"}}, 40063)],
)
def test_refused_jobs(contacts: Api, values: dict[str, Any], errcode: int) -> None:
    if "callback" in values:
        values = values | {"media_id": upload(contacts, HEAD)}

    assert contacts.post("batch/syncuser", values)["errcode"] == errcode


def test_results_are_kept_of_the_newest_five(contacts: Api, api: Api) -> None:
    media_id = upload(contacts, HEAD + "李雷,lilei,,,,,\n")
    jobs = [contacts.post("batch/syncuser", {"media_id": media_id})["jobid"] for _ in range(6)]

    assert contacts.get("batch/getresult", jobid=jobs[0])["errcode"] == 40089
    assert contacts.get("batch/getresult", jobid=jobs[1])["errcode"] == 0
    assert contacts.get("batch/getresult", jobid="x")["errcode"] == 40088
    assert contacts.get("batch/getresult")["errcode"] == 40063
    assert api.get("batch/getresult", jobid=jobs[1])["errcode"] == 48002


def test_the_end_of_a_job_is_told_where_the_call_wants_it(
    contacts: Api, sandbox: SandboxHandle, directory_receiver: Receiver
) -> None:
    with listening(CORPID) as wanted:
        callback = {"encodingaeskey" if name == "aes_key" else name: value for name, value in wanted.callback.items()}
        body = {"media_id": upload(contacts, HEAD + "李雷,lilei,,,,,\n"), "callback": callback}
        jobid = contacts.post("batch/syncuser", body)["jobid"]
        [event] = wanted.wait(1)

    assert (event["Event"], event["FromUserName"]) == ("batch_job_result", "sys")
    assert event["BatchJob"] == {"JobId": jobid, "JobType": "sync_user", "ErrCode": "0", "ErrMsg": "ok"}
    assert contacts.get("batch/getresult", jobid=jobid)["status"] == 3
    assert directory_receiver.events == []


def test_who_can_be_found_is_invited(api: Api, contacts: Api) -> None:
    body = {"user": ["lilei", "Ghost", "jim"], "party": [2, 4], "tag": [1, 9]}

    assert api.post("batch/invite", body) == {
        "errcode": 0,
        "errmsg": "ok",
        "invaliduser": ["ghost", "jim"],
        "invalidparty": [4],
        "invalidtag": [9],
    }
    assert contacts.post("batch/invite", {"user": ["jim"]})["invaliduser"] == []


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({}, 81012),
        ({"user": []}, 81012),
        ({"user": ["ghost"], "party": [99]}, 81013),
        ({"user": "lilei"}, 40035),
        ({"party": ["2"]}, 40035),
        ({"user": ["u"] * 1001}, 40032),
        ({"party": [2] * 101}, 82002),
        ({"tag": [1] * 101}, 82003),
    ],
)
def test_refused_invitations(api: Api, values: dict[str, Any], errcode: int) -> None:
    assert api.post("batch/invite", values)["errcode"] == errcode


@pytest.fixture
def world() -> World:
    """In which long work is done slice by slice, when a test asks for the next one."""
    found = World()
    administration.put_company(found, company())
    return found


def call(world: World, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
    """A call of the directory-sync assistant."""
    secret = {"corpid": CORPID, "corpsecret": "sandbox-secret-of-contacts"}
    token = answer(world, "gettoken", Request("GET", "/cgi-bin/gettoken", secret, b"", "127.0.0.1"))
    query = {"access_token": json.loads(token.body)["access_token"], **query}
    request = Request(method, f"/cgi-bin/{path}", query, json.dumps(body).encode(), "127.0.0.1")
    return dict(json.loads(answer(world, path, request).body))


def begin(world: World, path: str, people: int) -> tuple[Iterator[None], str]:
    """An import of so many people: the work that is left, and its job."""
    rows = "".join(f"员工{number},u{number},,{13000100000 + number},,2,\n" for number in range(people))
    world.media.add(Media("m", CORPID, "file", "people.csv", "text/csv", (HEAD + rows).encode(), world.now() + 60))
    works: list[Iterator[None]] = []
    world.in_slices = works.append
    jobid = str(call(world, "POST", path, {"media_id": "m"})["jobid"])
    return works[0], jobid


def progress(world: World, jobid: str) -> tuple[int, int, int, int]:
    answer = call(world, "GET", "batch/getresult", jobid=jobid)
    return answer["status"], answer["percentage"], answer["total"], len(answer["result"])


def test_a_large_file_is_imported_in_slices(world: World) -> None:
    work, jobid = begin(world, "batch/replaceuser", 250)
    directory = world.companies[CORPID].directory

    assert (progress(world, jobid), len(directory.members)) == ((2, 0, 250, 0), 3)
    next(work)
    assert (progress(world, jobid), len(directory.members)) == ((2, 40, 250, 0), 103)
    next(work)
    administration.remove_member(world, world.companies[CORPID], "jim")
    assert list(work) == []
    assert [progress(world, jobid) for _ in range(2)] == [(1, 0, 252, 0), (3, 100, 252, 252)]
    assert len(directory.members) == 250


def test_somebody_else_deletes_whom_an_import_is_about_to_delete(world: World) -> None:
    list(begin(world, "batch/syncuser", 200)[0])
    work, jobid = begin(world, "batch/replaceuser", 1)
    next(work)

    administration.remove_member(world, world.companies[CORPID], "u199")

    assert len(list(work)) == 1
    assert [progress(world, jobid) for _ in range(2)] == [(1, 0, 202, 0), (3, 100, 202, 202)]
    assert list(world.companies[CORPID].directory.members) == ["u0"]


@pytest.mark.parametrize("ended", [World.forget, lambda world: administration.remove_company(world, CORPID)])
def test_an_import_ends_with_what_it_was_for(world: World, ended: Callable[[World], None]) -> None:
    work, _ = begin(world, "batch/syncuser", 250)
    directory = world.companies[CORPID].directory
    next(work)

    ended(world)

    assert list(work) == []
    assert len(directory.members) == 103


def test_calls_are_answered_while_a_file_is_imported(contacts: Api, sandbox: SandboxHandle) -> None:
    rows = "".join(f"员工{number},u{number},,{13000100000 + number},,2,\n" for number in range(3000))
    with listening(CORPID) as wanted:
        callback = {"encodingaeskey" if name == "aes_key" else name: value for name, value in wanted.callback.items()}
        body = {"media_id": upload(contacts, HEAD + rows), "callback": callback}
        jobid = contacts.post("batch/syncuser", body)["jobid"]
        answers = [contacts.get("batch/getresult", jobid=jobid)]
        while answers[-1]["status"] != 3:
            answers.append(contacts.get("batch/getresult", jobid=jobid))
        [event] = wanted.wait(1)

    assert {answer["status"] for answer in answers[:-1]} <= {2}
    assert len(answers[-1]["result"]) == 3000
    assert len(members(sandbox)) == 3003
    assert event["BatchJob"] == {"JobId": jobid, "JobType": "sync_user", "ErrCode": "0", "ErrMsg": "ok"}
