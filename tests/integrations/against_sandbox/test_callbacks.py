"""Callbacks: what the sandbox seals we open and read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.clients.wecom.callbacks import Callback, CallbackCrypto
from tests.integrations.against_sandbox.listener import AES_KEY, TOKEN, Listener, listening
from tests.integrations.against_sandbox.message_cases import DONE, leave_card, sent, update
from tests.integrations.against_sandbox.place import Place
from tests.sandbox_process import AGENTID, CORPID

APP = f"companies/{CORPID}/apps/{AGENTID}"
LILEI = f"companies/{CORPID}/members/lilei"


@pytest.fixture
def listener(place: Place) -> Iterator[Listener]:
    """The app's callback address."""
    with listening() as found:
        place.app_control(callback=found.settings)
        place.settings(callback_pause_seconds=0.02)
        yield found


@pytest.fixture
def directory_listener(place: Place) -> Iterator[Listener]:
    """The callback address of the directory-sync assistant."""
    with listening() as found:
        place.sandbox.control("PATCH", f"companies/{CORPID}", {"contacts_callback": found.settings})
        yield found


def outcomes(place: Place, count: int) -> list[tuple[str, int, str]]:
    """Event, try and outcome of every delivery, as soon as there are so many."""
    for _ in range(6000):
        records = place.sandbox.control("GET", "callbacks")["callbacks"]
        if len(records) >= count:
            return [(one["event"], one["attempt"], one["outcome"]) for one in records]
        time.sleep(0.01)
    raise AssertionError(f"only {records}")


def click(place: Place, msgid: str, key: str, **selected: list[str]) -> None:
    place.sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": key, "selected": selected})


def test_saving_the_address_in_the_console(place: Place, listener: Listener) -> None:
    assert place.sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}

    listener.crypto = CallbackCrypto(TOKEN, AES_KEY, "ww9999999999999999")
    assert place.sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": "HTTP 403"}


def test_a_click_brings_a_code_that_changes_the_card(place: Place, listener: Listener) -> None:
    result = sent(place, leave_card())
    clicked_at = int(place.now())
    click(place, result.msgid, "approve")

    (heard,) = listener.wait(1)

    assert (heard.corpid, heard.userid, heard.agentid) == (CORPID, "LiLei", AGENTID)
    assert (heard.is_event, heard.kind, heard.change) == (True, "template_card_event", "")
    assert clicked_at <= heard.created_at <= place.now()
    names = ("EventKey", "TaskId", "CardType")
    assert [heard.text(name) for name in names] == ["approve", "leave-7", "button_interaction"]
    assert listener.receivers == [(CORPID, str(AGENTID))]
    assert heard.text("ResponseCode") != result.response_code
    for code in (heard.text("ResponseCode"), result.response_code):
        assert place.app.message_update_template_card(update(code)) == ()
    assert place.phone()[0]["card"] == DONE.fields


def test_three_deliveries_of_one_event_have_one_key(place: Place, listener: Listener) -> None:
    listener.status = 500
    click(place, sent(place, leave_card()).msgid, "approve")

    assert outcomes(place, 3) == [("template_card_event", attempt, "not 200") for attempt in (1, 2, 3)]
    assert len(set(listener.signatures)) == 3
    assert len({heard.dedupe_key for heard in listener.heard}) == 1


def change(heard: Callback) -> tuple[str, dict[str, Any]]:
    """The kind of change and its own elements."""
    common = {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Event", "ChangeType"}
    assert (heard.kind, heard.userid, heard.agentid, heard.corpid) == ("change_contact", "sys", None, CORPID)
    return heard.change, {name: value for name, value in heard.fields.items() if name not in common}


def test_changes_of_the_directory(place: Place, directory_listener: Listener) -> None:
    company = f"companies/{CORPID}"
    doings: list[tuple[str, str, object]] = [
        ("POST", "departments", [{"id": 5, "name": "研发部", "parentid": 1}]),
        ("POST", "members", [{"userid": "xiaozhang", "name": "小张", "department": [5]}]),
        ("POST", "members/xiaozhang/rename", {"userid": "zhang.san"}),
        ("DELETE", "members/zhang.san", {}),
        ("DELETE", "departments/5", {}),
    ]
    for count, (method, path, document) in enumerate(doings, 1):
        place.sandbox.control(method, f"{company}/{path}", document)
        directory_listener.wait(count)

    heard = [change(one) for one in directory_listener.heard]

    assert heard[0] == ("create_party", {"Id": "5", "ParentId": "1"})
    assert heard[1] == ("create_user", {"UserID": "xiaozhang", "Department": "5"})
    assert heard[2] == ("update_user", {"UserID": "xiaozhang", "NewUserID": "zhang.san"})
    assert heard[3] == ("delete_user", {"UserID": "zhang.san"})
    assert heard[4] == ("delete_party", {"Id": "5"})
    assert set(directory_listener.receivers) == {(CORPID, "")}
