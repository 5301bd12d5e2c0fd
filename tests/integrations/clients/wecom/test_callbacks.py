"""Reading callbacks: every kind of event, the spellings that vary, and what is refused."""

from __future__ import annotations

import pytest

from integrations.clients.wecom.callbacks import (
    Callback,
    CallbackError,
    Envelope,
    parse,
    read_envelope,
)

HEAD = (
    "<ToUserName><![CDATA[ww1a2b3c4d5e6f7a8b]]></ToUserName><FromUserName><![CDATA[lilei]]></FromUserName>"
    "<CreateTime>1764000010</CreateTime>"
)


def event(inner: str, name: str = "click") -> bytes:
    return f"<xml>{HEAD}<MsgType><![CDATA[event]]></MsgType><Event>{name}</Event>{inner}</xml>".encode()


def test_an_event() -> None:
    callback = parse(event("<EventKey><![CDATA[HELP]]></EventKey><AgentID>1000002</AgentID>"))

    assert callback == Callback(
        corpid="ww1a2b3c4d5e6f7a8b",
        userid="lilei",
        agentid=1000002,
        created_at=1764000010,
        is_event=True,
        kind="click",
        change="",
        dedupe_key=callback.dedupe_key,
        fields={
            "ToUserName": "ww1a2b3c4d5e6f7a8b",
            "FromUserName": "lilei",
            "CreateTime": "1764000010",
            "MsgType": "event",
            "Event": "click",
            "EventKey": "HELP",
            "AgentID": "1000002",
        },
    )
    assert callback.text("EventKey") == "HELP"
    assert callback.text("Nothing") == ""


def test_a_message() -> None:
    callback = parse(
        f"<xml>{HEAD}<MsgType>text</MsgType><Content><![CDATA[退订 <b>&]]></Content>"
        "<MsgId>6054768590064713728</MsgId><AgentID>1</AgentID></xml>".encode()
    )

    assert (callback.is_event, callback.kind, callback.text("Content")) == (False, "text", "退订 <b>&")
    assert callback.dedupe_key == "msg:6054768590064713728"


def test_a_change_of_the_directory_has_no_application() -> None:
    callback = parse(
        event("<ChangeType>update_user</ChangeType><UserID>lilei</UserID><AgentID></AgentID>", "change_contact")
    )

    assert (callback.kind, callback.change, callback.agentid) == ("change_contact", "update_user", None)
    assert callback.text("UserID") == "lilei"


@pytest.mark.parametrize("name", ["LOCATION", "<![CDATA[Location]]>", " location\n"])
def test_the_name_of_an_event_is_compared_without_case(name: str) -> None:
    assert parse(event("", name)).kind == "location"


def test_elements_may_be_nested_and_repeated() -> None:
    callback = parse(
        event("<SendPicsInfo><Count>2</Count><PicList><item><M>a</M></item></PicList><PicList/></SendPicsInfo>")
    )

    assert callback.fields["SendPicsInfo"] == {"Count": "2", "PicList": [{"item": {"M": "a"}}, ""]}


def test_two_events_of_one_second_differ_and_a_second_delivery_does_not() -> None:
    first, second = event("<EventKey>a</EventKey>"), event("<EventKey>b</EventKey>")

    assert parse(first).dedupe_key == parse(first).dedupe_key
    assert parse(first).dedupe_key != parse(second).dedupe_key


def test_an_envelope() -> None:
    body = b"<xml>\n <Encrypt><![CDATA[QUJD]]></Encrypt>\n <AgentID>1</AgentID><ToUserName>ww1</ToUserName></xml>"

    assert read_envelope(body) == Envelope("ww1", "1", "QUJD")
    assert read_envelope(b"<xml><Encrypt>QUJD</Encrypt></xml>") == Envelope("", "", "QUJD")


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<xml><Encrypt>&b;</Encrypt></xml>"
)
FILE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><Encrypt>&f;</Encrypt></xml>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<xml>",
        b"<xml/>",
        b"<xml>text</xml>",
        b"<xml><Encrypt></Encrypt></xml>",
        b"<xml><Encrypt><a>x</a></Encrypt></xml>",
        b"<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>",
        b"<xml>" * 5000,
        b"<a>" * 100 + b"</a>" * 100,
        b'<?xml version="1.0" encoding="no-such"?><xml><Encrypt>a</Encrypt></xml>',
        b"\xff\xfe<xml>",
        b"<xml><Encrypt>\x00</Encrypt></xml>",
        BOMB,
        FILE,
        b"<!DOCTYPE xml><xml><Encrypt>a</Encrypt></xml>",
        b"<xml><Encrypt>" + b"x" * 5_300_000 + b"</Encrypt></xml>",
    ],
    ids=range(17),
)
def test_a_body_that_is_no_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackError):
        read_envelope(body)


@pytest.mark.parametrize(
    "message",
    [
        b"<xml><MsgType>text</MsgType></xml>",
        b"<xml><CreateTime>1</CreateTime></xml>",
        b"<xml><MsgType>event</MsgType><CreateTime>1</CreateTime></xml>",
        b"<xml><MsgType>text</MsgType><CreateTime>yesterday</CreateTime></xml>",
        b"<xml><MsgType>text</MsgType><CreateTime>1111111111111</CreateTime></xml>",
    ],
)
def test_a_plaintext_that_is_no_callback_is_refused(message: bytes) -> None:
    with pytest.raises(CallbackError):
        parse(message)
