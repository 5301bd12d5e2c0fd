"""A second opinion: wechatpy, written by others, reads what we write and asks as we ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st
from wechatpy.enterprise import WeChatClient, parse_message
from wechatpy.enterprise.crypto import WeChatCrypto
from wechatpy.enterprise.exceptions import InvalidCorpIdException
from wechatpy.exceptions import InvalidSignatureException

from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import body_bytes
from integrations.clients.wecom.callbacks import CallbackCrypto, CallbackError, parse, read_envelope
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.oauth import sign
from integrations.clients.wecom.tokens import FetchedToken
from tests.integrations.clients.wecom.contract import open_client
from tests.integrations.clients.wecom.test_callbacks import B_MESSAGE
from tests.wecom import AGENTID, CORPID, SECRET, TOKEN, fixture

CALLBACK_TOKEN = "QDG6eKtestToken01"
KEY = "XJkoxTakYd9Lo1Z2tTHEcHZsMSiWYhpx6jtYQGd8CqM"
OURS = CallbackCrypto(CALLBACK_TOKEN, KEY, CORPID)
THEIRS = WeChatCrypto(CALLBACK_TOKEN, KEY, CORPID)
MESSAGES = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=200)


@given(MESSAGES)
def test_wechatpy_opens_what_we_seal(message: str) -> None:
    sealed = OURS.encrypt(message.encode(), timestamp="1764000000", nonce="998877")

    assert THEIRS.check_signature(sealed.signature, "1764000000", "998877", sealed.encrypted) == message


@given(MESSAGES)
def test_we_open_what_wechatpy_seals(message: str) -> None:
    envelope = THEIRS.encrypt_message(message, "998877", "1764000000").encode()

    encrypted = read_envelope(envelope).encrypted
    signature = envelope.partition(b"<MsgSignature><![CDATA[")[2].partition(b"]]>")[0].decode()

    assert OURS.decrypt(encrypted, signature=signature, timestamp="1764000000", nonce="998877") == message.encode()


def test_both_refuse_another_company_and_another_signature() -> None:
    other = WeChatCrypto(CALLBACK_TOKEN, KEY, "ww00000000000000")
    sealed = OURS.encrypt(b"x", timestamp="1", nonce="2")
    theirs = CallbackCrypto(CALLBACK_TOKEN, KEY, "ww00000000000000").encrypt(b"x", timestamp="1", nonce="2")

    with pytest.raises(InvalidCorpIdException):
        other.check_signature(sealed.signature, "1", "2", sealed.encrypted)
    with pytest.raises(InvalidSignatureException):
        THEIRS.check_signature(sealed.signature, "1", "3", sealed.encrypted)
    with pytest.raises(CallbackError):
        OURS.decrypt(theirs.encrypted, signature=theirs.signature, timestamp="1", nonce="2")
    with pytest.raises(CallbackError):
        OURS.decrypt(sealed.encrypted, signature=sealed.signature, timestamp="1", nonce="3")


@pytest.mark.parametrize(
    "message",
    [
        B_MESSAGE.replace("template_card_event", "click"),  # which wechatpy 1.8 knows
        "<xml><ToUserName>ww1</ToUserName><FromUserName>lilei</FromUserName><CreateTime>1764000001</CreateTime>"
        "<MsgType>text</MsgType><Content><![CDATA[日报 & 周报]]></Content><MsgId>7</MsgId><AgentID>1</AgentID></xml>",
        "<xml><ToUserName>ww1</ToUserName><FromUserName>lilei</FromUserName><CreateTime>1764000001</CreateTime>"
        "<MsgType>event</MsgType><Event>subscribe</Event><AgentID>1</AgentID></xml>",
    ],
)
def test_both_read_the_same_of_a_callback(message: str) -> None:
    ours, theirs = parse(message.encode()), parse_message(message)

    assert (ours.userid, ours.corpid) == (theirs.source, theirs.target)
    assert ours.agentid == int(theirs.agent)
    assert ours.text("Content") == getattr(theirs, "content", "")
    if not ours.is_event:
        assert ours.kind == theirs.type
        assert ours.dedupe_key == f"msg:{theirs.id}"


def test_both_sign_a_page_alike() -> None:
    url = "https://portal.example.com/m/home?from=wecom"

    theirs = WeChatClient(CORPID, SECRET).jsapi.get_jsapi_signature("Wm3WZYTPz0wzccnW", "sim-ticket", 1764000004, url)

    assert sign(ticket="sim-ticket", nonce="Wm3WZYTPz0wzccnW", timestamp=1764000004, url=url).signature == theirs


def _asked(call: Callable[[], object], method: str, path: str) -> tuple[dict[str, list[str]], Any]:
    """The query and body of the one request that a call makes."""
    with responses.RequestsMock() as mock:
        # userlist and the like: what a client wants to find in an answer that is not looked at here.
        mock.add(method, f"https://qyapi.weixin.qq.com/cgi-bin/{path}", json=fixture("message_send") | ANY_LIST)
        call()
        request = mock.calls[0].request
    query = parse_qs(urlsplit(str(request.url)).query)
    body = json.loads(request.body) if request.body else None
    return query, body


ANY_LIST: dict[str, Any] = {
    **{"userlist": [], "department": [], "button": [], "ip_list": [], "userid": "lilei"},
    **{"agentid": AGENTID, "chat_info": {"chatid": "c"}, "chatid": "c"},
}


def _without_empty(body: Any) -> Any:
    """A body without what stands for nothing; wechatpy sends `toparty: ""` and `safe: 0`."""
    return {name: value for name, value in body.items() if value not in ("", 0)} if isinstance(body, dict) else body


def _send(content: builders.Content) -> Callable[[WeComClient], object]:
    payload = builders.app_message(agentid=AGENTID, to=builders.Recipients(["lilei", "hanmeimei"]), content=content)
    return lambda client: client.message_send(body_bytes(payload))


URL = "https://portal.example.com/m"
PEOPLE = ["lilei", "hanmeimei"]
PAIRS: tuple[tuple[str, str, Callable[[WeComClient], object], Callable[[Any], object]], ...] = (
    ("GET", "user/get", lambda c: c.user_get("lilei"), lambda w: w.user.get("lilei")),
    ("GET", "department/list", lambda c: c.department_list(2), lambda w: w.department.get(2)),
    ("GET", "tag/get", lambda c: c.tag_get(1), lambda w: w.tag.get_users(1)),
    ("GET", "agent/get", lambda c: c.agent_get(), lambda w: w.agent.get(AGENTID)),
    ("GET", "menu/get", lambda c: c.menu_get(), lambda w: w.menu.get(AGENTID)),
    ("GET", "getcallbackip", lambda c: c.getcallbackip(), lambda w: w.misc.get_wechat_ips()),
    ("GET", "appchat/get", lambda c: c.appchat_get("c"), lambda w: w.appchat.get("c")),
    (
        "POST",
        "appchat/create",
        lambda c: c.appchat_create(userids=PEOPLE, name="群", owner="lilei", chatid="c"),
        lambda w: w.appchat.create("c", "群", "lilei", PEOPLE),
    ),
    (
        "POST",
        "message/send",
        _send(builders.text_content("营收")),
        lambda w: w.message.send_text(AGENTID, PEOPLE, "营收"),
    ),
    (
        "POST",
        "message/send",
        _send(builders.textcard_content(title="t", description="d", url=URL, button_text="详情")),
        lambda w: w.message.send_text_card(AGENTID, PEOPLE, "t", "d", URL),
    ),
    (
        "POST",
        "message/send",
        _send(builders.markdown_content("**t**")),
        lambda w: w.message.send_markdown(AGENTID, PEOPLE, "**t**"),
    ),
    (
        "POST",
        "message/send",
        _send(builders.image_content("m1")),
        lambda w: w.message.send_image(AGENTID, PEOPLE, "m1"),
    ),
    ("POST", "message/send", _send(builders.file_content("m1")), lambda w: w.message.send_file(AGENTID, PEOPLE, "m1")),
)


@pytest.mark.parametrize(
    ("method", "path", "ours", "theirs"), PAIRS, ids=[f"{number} {pair[1]}" for number, pair in enumerate(PAIRS)]
)
def test_both_ask_for_the_same(
    method: str, path: str, ours: Callable[[WeComClient], object], theirs: Callable[[Any], object]
) -> None:
    client = open_client()
    assert isinstance(client, WeComClient)
    client._tokens.get(CORPID, AGENTID, lambda: FetchedToken(TOKEN, 7200))

    our_query, our_body = _asked(lambda: ours(client), method, path)
    their_query, their_body = _asked(lambda: theirs(WeChatClient(CORPID, SECRET, TOKEN)), method, path)

    assert our_query == their_query
    assert _without_empty(our_body) == _without_empty(their_body)
