"""Fuzzing by hypothesis: the sandbox answers every input with an errcode."""

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wecom_sandbox.api import call
from wecom_sandbox.api.call import ENDPOINTS, OPEN_ENDPOINTS, Request
from wecom_sandbox.callbacks import courier
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import bodies
from wecom_sandbox.http.bodies import read_media
from wecom_sandbox.http.envelope import JSON_TYPE
from wecom_sandbox.pages import bubbles, rendering
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import World

from tests.nightly import IS_NIGHTLY
from tests.sandbox.direct import MENU
from tests.sandbox.test_messages import BUTTON, MULTIPLE, NEWS_NOTICE, TEXT_NOTICE, VOTE
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

EXAMPLES = settings(
    max_examples=10_000 if IS_NIGHTLY else 200,
    deadline=None,
    database=None,
    derandomize=not IS_NIGHTLY,
    # Machines are shared: a slow one is no finding.
    suppress_health_check=[HealthCheck.too_slow],
)
# Texts for which int() raises, or which it takes although WeCom does not.
ODD_NUMBERS = ("--5", "-", "-1", "9" * 5000, "٣", "²", "1_000", " 2 ", "0x1", "1e3", "+2")
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SIMPLE | st.sampled_from(["lilei", "1", "", 10**400, *ODD_NUMBERS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
URL = "https://a.example/"
CONTACTS_SECRET = str(company()["contacts_secret"])
BODIES: dict[str, list[dict[str, Any]]] = {
    "message/send": [
        {"touser": "lilei", "toparty": "2", "totag": "1", "agentid": AGENTID, "msgtype": kind, kind: content, "safe": 0}
        for kind, content in (
            ("text", {"content": "x"}),
            ("markdown", {"content": "x"}),
            ("textcard", {"title": "t", "description": "d", "url": URL, "btntxt": "b"}),
            ("news", {"articles": [{"title": "t", "url": URL, "picurl": URL}]}),
            ("template_card", BUTTON),
            ("template_card", VOTE),
            ("template_card", MULTIPLE),
            ("template_card", NEWS_NOTICE),
            ("template_card", TEXT_NOTICE | {"source": {"desc": "x", "desc_color": 1}}),
        )
    ],
    "message/update_template_card": [
        {"agentid": AGENTID, "userids": ["lilei"], "response_code": "x", "button": {"replace_name": "x"}},
    ],
    "message/recall": [{"msgid": "x"}],
    "menu/create": [MENU],
    "agent/set": [{"agentid": AGENTID, "name": "x", "description": "xxxx", "home_url": URL, "isreportenter": 1}],
    "appchat/create": [{"name": "x", "owner": "lilei", "userlist": ["lilei", "hanmeimei"], "chatid": "c"}],
}


@pytest.fixture(scope="module")
def world() -> World:
    found = World()
    administration.load_seed(found, {"companies": [company()], "settings": {"limits_enabled": False}})
    return found


def token(world: World, secret: str = SECRET) -> str:
    request = Request("GET", "/cgi-bin/gettoken", {"corpid": CORPID, "corpsecret": secret}, b"", "127.0.0.1")
    return str(json.loads(call.answer(world, "gettoken", request).body)["access_token"])


def places(document: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a document."""
    found = [path] if path else []
    if isinstance(document, dict):
        return found + [place for key, value in document.items() for place in places(value, (*path, key))]
    if isinstance(document, list):
        return found + [place for index, value in enumerate(document) for place in places(value, (*path, index))]
    return found


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw a good body with other values in one or two places."""
    name = draw(st.sampled_from(sorted(BODIES)))
    body = copy.deepcopy(draw(st.sampled_from(BODIES[name])))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(body)))
        part: Any = body
        try:
            for step in way:
                part = part[step]
            part[last] = draw(VALUES)
        except (KeyError, IndexError, TypeError):
            continue
    return name, body


@EXAMPLES
@given(spoilt())
def test_spoilt_bodies_get_an_errcode_and_can_be_drawn(world: World, case: tuple[str, dict[str, Any]]) -> None:
    name, body = case
    raw = json.dumps(body).encode()
    request = Request("POST", f"/cgi-bin/{name}", {"access_token": token(world), "agentid": str(AGENTID)}, raw, "::1")

    reply = call.answer(world, name, request)

    assert json.loads(reply.body)["errcode"] == reply.errcode
    for message in world.mail.inbox(CORPID, "lilei"):
        bubbles.make_bubble(message, "lilei")
        bubbles.make_preview(message)
    world.mail.inboxes.clear()


NAMES = st.sampled_from(
    ["access_token", "department_id", "id", "tagid", "userid", "agentid", "type", "code", "media_id", "chatid", "key"]
    + ["fetch_child", "debug", "corpid", "corpsecret", "cursor", "limit", "touser", "toparty", "totag", "msgtype"]
    + ["text", "name", "email", "mobile", "button", "userlist", "owner", "msgid", "response_code", "userids", "atall"]
    + ["enable_duplicate_check", "duplicate_check_interval", "user_ticket", "home_url", "isreportenter", "safe"]
)
LIKELY = st.sampled_from([CORPID, SECRET, str(AGENTID), "LiLei", "jim", "1", "2", "4", "text", "agent_config"])
GIVEN = st.dictionaries(NAMES, LIKELY | st.text(max_size=8) | st.sampled_from(ODD_NUMBERS), max_size=5)
CALLS = sorted([*ENDPOINTS, *OPEN_ENDPOINTS])


@EXAMPLES
@given(
    st.sampled_from(CALLS),
    st.sampled_from([SECRET, CONTACTS_SECRET]),
    GIVEN,
    st.dictionaries(NAMES, VALUES | LIKELY, max_size=6),
)
def test_any_call_gets_an_errcode(name: str, secret: str, query: dict[str, str], body: dict[str, Any]) -> None:
    world = World()
    administration.load_seed(world, {"companies": [company(contacts_old_ips=["127.0.0.1"])]})
    called = ENDPOINTS.get(name) or OPEN_ENDPOINTS[name]
    method = called.methods[-1]
    raw = json.dumps(body).encode() if method == "POST" else b""
    request = Request(method, f"/cgi-bin/{name}", {**query, "access_token": token(world, secret)}, raw, "127.0.0.1")

    reply = call.answer(world, name, request)

    assert reply.content_type != JSON_TYPE or json.loads(reply.body)["errcode"] == reply.errcode
    # What the call left behind can be dumped and loaded again.
    administration.load_seed(World(), json.loads(json.dumps(administration.dump_seed(world))))


@EXAMPLES
@given(st.text(max_size=40), st.binary(max_size=200))
def test_any_form(content_type: str, body: bytes) -> None:
    for kind in (content_type, "multipart/form-data; boundary=B"):
        with pytest.raises(ApiError):
            read_media(kind, body)


@EXAMPLES
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_message_survives_encryption(message: str, receiveid: str) -> None:
    key = courier.decode_aes_key("XJkoxTakYd9Lo1Z2tTHEcHZsMSiWYhpx6jtYQGd8CqM")
    encrypted = courier.encrypt(message.encode(), key=key, receiveid=receiveid)

    assert courier.decrypt(encrypted, key=key, receiveid=receiveid) == message.encode()


@EXAMPLES
@given(st.binary(max_size=80) | st.text(max_size=40).map(lambda text: f"<xml><A>{text}</A></xml>".encode()))
def test_any_reply(body: bytes) -> None:
    try:
        element = bodies.parse_xml(body)
    except ValueError:
        return
    bodies.convert_card(element)


@EXAMPLES
@given(st.text(max_size=40))
def test_any_redirect_address(text: str) -> None:
    for address in (text, f"http://localhost:3001{text}", f"https://localhost:3001/{text}"):
        netloc = rendering.read_netloc(address)
        assert "@" not in netloc
        if netloc == "localhost:3001":
            assert address[address.index("//") + 2 :].startswith("localhost:3001")
