"""Numbers that come as text, in queries and bodies: what is none has its errcode, and nothing breaks."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

# What int() raises for, or takes although it is no number of WeCom's.
NO_NUMBERS = ["--5", "-", "9" * 5000, "-" + "9" * 5000, "٣", "²", "1_000", "0x1", "1e3", "9" * 19]


def code_of(response: requests.Response) -> int:
    assert response.status_code == 200, response.text[:200]
    return int(response.json()["errcode"])


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_in_a_query(contacts: Api, api: Api, text: str) -> None:
    mine, theirs = {"access_token": api.token()}, {"access_token": contacts.token()}

    assert code_of(api.raw("GET", "user/simplelist", params=mine | {"department_id": text})) == 60003
    assert code_of(api.raw("GET", "department/get", params=mine | {"id": text})) == 60003
    assert code_of(api.raw("GET", "tag/get", params=mine | {"tagid": text})) == 40068
    assert code_of(api.raw("GET", "agent/get", params=mine | {"agentid": text})) == 40056
    assert code_of(contacts.raw("GET", "department/delete", params=theirs | {"id": text})) in (60003, 40058)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_in_recipients(api: Api, sandbox: SandboxHandle, text: str) -> None:
    answer = api.send("lilei", toparty=f"2|{text}", totag=f"1|{text}")

    assert (answer["errcode"], answer["invalidparty"], answer["invalidtag"]) == (0, text, text)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_in_fields_of_a_body(api: Api, text: str) -> None:
    message: dict[str, Any] = {"touser": "lilei", "msgtype": "text", "text": {"content": "x"}}

    assert api.post("message/send", message | {"agentid": text})["errcode"] == 40056
    assert api.post("message/send", message | {"agentid": AGENTID, "safe": text})["errcode"] == 40058
    assert api.post("user/get_userid_by_email", {"email": "x", "email_type": text})["errcode"] == 40058
    assert api.post("message/get_statistics", {"time_type": text})["errcode"] == 40058


@pytest.mark.parametrize("number", [10**18 * 10, -(2**63) - 1, 10**4000])
def test_numbers_beyond_64_bits(api: Api, number: int) -> None:
    message: dict[str, Any] = {"touser": "lilei", "msgtype": "text", "text": {"content": "x"}, "agentid": AGENTID}

    assert api.post("message/send", message | {"safe": number})["errcode"] == 40058
    assert api.post("message/send", message | {"agentid": number})["errcode"] == 40056


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_in_a_cursor(contacts: Api, text: str) -> None:
    assert contacts.post("user/list_id", {"cursor": text})["errcode"] == 50100


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_in_the_targets_of_a_card(api: Api, sandbox: SandboxHandle, text: str) -> None:
    card = {
        "card_type": "button_interaction",
        "main_title": {"title": "请假"},
        "task_id": "leave-7",
        "button_list": [{"text": "同意", "key": "yes"}],
    }
    code = api.send(msgtype="template_card", template_card=card)["response_code"]
    update = {"agentid": AGENTID, "response_code": code, "button": {"replace_name": "好"}}

    parties = api.post("message/update_template_card", update | {"userids": ["lilei"], "partyids": [text]})
    tags = api.post("message/update_template_card", update | {"userids": ["lilei"], "tagids": [text]})

    assert (parties["errcode"], tags["errcode"]) == (40035, 40035)


@pytest.mark.parametrize("text", [" 1000002 ", "1000002"])
def test_digits_are_taken(api: Api, sandbox: SandboxHandle, text: str) -> None:
    assert api.send(agentid=text, toparty=" 2 |3", totag="1")["invalidparty"] == ""
    assert sandbox.control("GET", f"companies/{CORPID}/messages")["messages"][0]["receivers"] == ["lilei", "hanmeimei"]
