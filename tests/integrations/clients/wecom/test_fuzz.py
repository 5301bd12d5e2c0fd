"""Fuzzing: any input raises no exception but ours. HYPOTHESIS_PROFILE=nightly tries 10,000 examples."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from integrations.clients.errors import IntegrationError
from integrations.clients.transport import Reply, open_session
from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import (
    Content,
    MessageError,
    build_markdown_content,
    build_news_content,
    build_text_content,
    build_textcard_content,
    drop_direction_marks,
    encode_body,
)
from integrations.clients.wecom.callbacks import CallbackCrypto, CallbackError, parse_callback, read_envelope
from integrations.clients.wecom.calls import Answer, Call, Params, Wire, read_answer
from integrations.clients.wecom.cards import (
    Button,
    Head,
    Source,
    build_button_interaction,
    build_news_notice,
    build_text_notice,
)
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.tokens import TrialTokens

CORPID = "ww1a2b3c4d5e6f7a8b"
CRYPTO = CallbackCrypto("QDG6eKtestToken01", "XJkoxTakYd9Lo1Z2tTHEcHZsMSiWYhpx6jtYQGd8CqM", CORPID)

# Any code point, including halves of surrogate pairs.
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)
URLS = st.one_of(TEXTS, TEXTS.map(lambda rest: f"https://a.example/{rest}"), TEXTS.map(lambda rest: f"http://{rest}"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
ANSWERS = st.dictionaries(
    st.sampled_from(("errcode", "errmsg", "invaliduser", "agentid", "userlist")), JSON, max_size=8
)
# Close to valid, so that the readers get beyond the first field.
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "userid": st.text(max_size=5),
        "agentid": st.integers() | st.text(max_size=3),
        "expires_in": st.integers(),
        "access_token": st.text(max_size=5),
        "ticket": st.text(max_size=5),
        "userlist": st.lists(
            st.fixed_dictionaries({"userid": st.text(max_size=3)}, optional={"department": JSON}), max_size=3
        ),
        "department": st.lists(
            st.fixed_dictionaries({"id": JSON}, optional={"parentid": JSON, "order": JSON}), max_size=3
        ),
        "dept_user": st.lists(st.fixed_dictionaries({"userid": JSON, "department": JSON}), max_size=3),
        "chat_info": st.fixed_dictionaries({"chatid": JSON, "userlist": JSON}),
        "media_id": st.text(max_size=3),
        "created_at": JSON,
        "ip_list": st.lists(JSON, max_size=3),
        "allow_userinfos": st.fixed_dictionaries({"user": JSON}),
    },
)
CALLS: tuple[Callable[[WeComClient], Any], ...] = (
    lambda client: client.message_send(b"{}"),
    lambda client: client.auth_getuserinfo("code"),
    lambda client: client.user_get("lilei"),
    lambda client: client.agent_get(),
    lambda client: client.getcallbackip(),
    lambda client: client.user_list(1),
    lambda client: client.user_list_id(),
    lambda client: client.department_list(),
    lambda client: client.department_get(1),
    lambda client: client.tag_get(1),
    lambda client: client.appchat_get("chat"),
    lambda client: client.media_upload(b"a file", kind="file", file_name="a.txt"),
    lambda client: client.get_jsapi_ticket(),
)


class OneAnswer(Wire):
    """A wire on which every call gets the same answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(session=open_session())
        self._answer = answer

    def send_call(self, call: Call, _credentials: Params) -> Answer:
        return {"access_token": "token", "expires_in": 7200} if call.path == "gettoken" else self._answer


def _opened(encrypted: str) -> bytes | None:
    signature = CRYPTO.sign(encrypted, timestamp="1", nonce="2")
    try:
        return CRYPTO.decrypt(encrypted, signature=signature, timestamp="1", nonce="2")
    except CallbackError:
        return None


@given(st.one_of(TEXTS, st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode())))
def test_no_ciphertext_breaks_decryption(encrypted: str) -> None:
    assert _opened(encrypted) is None


TAGS = st.sampled_from(
    ("xml", "Encrypt", "MsgType", "Event", "CreateTime", "SelectedItems", "SelectedItem", "OptionIds", "a")
)
DOCUMENTS = st.recursive(
    st.sampled_from(("", "1", "event", "text", "<![CDATA[x]]>", "&amp;", "&x;", "<!--c-->", "<?p?>", "]]>")),
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", TAGS, st.lists(inner, max_size=4)),
    max_leaves=15,
)


@given(st.one_of(st.binary(max_size=200), DOCUMENTS.map(str.encode)))
def test_no_document_breaks_the_reader(document: bytes) -> None:
    for read in (read_envelope, parse_callback):
        with suppress(CallbackError):
            read(document)


@given(
    st.one_of(st.binary(max_size=200), ANSWERS.map(lambda answer: json.dumps(answer).encode())), st.integers(100, 599)
)
def test_no_answer_breaks_the_reader(content: bytes, status: int) -> None:
    errors: list[IntegrationError] = []
    for is_repeatable in (True, False):
        call = Call("user/get", is_repeatable=is_repeatable, secrets=("sim-secret",))
        try:
            read_answer(call, Reply(status, content))
        except IntegrationError as error:
            errors.append(error)
    assert {error.operation for error in errors} <= {"user_get"}
    assert all(len(error.answer) <= 500 for error in errors)


@given(st.one_of(ANSWERS, LIKELY))
def test_no_answer_breaks_a_schema(answer: dict[str, Any]) -> None:
    client = WeComClient(
        corpid="corp", agentid=1, secret="sim-secret", token_store=TrialTokens(), wire=OneAnswer(answer)
    )
    for call in CALLS:
        with suppress(IntegrationError):
            assert hash(call(client)) is not None


def _sent(build: Callable[[], Content]) -> None:
    """Check that a builder's JSON is read as intended, without marks of reading order."""
    try:
        payload = builders.build_app_message(agentid=1, userids=["lilei"], content=build())
        body = encode_body(payload)
    except MessageError:
        return
    assert json.loads(body) == json.loads(drop_direction_marks(json.dumps(payload, ensure_ascii=False)))
    assert b"\\u" not in body.replace(b"\\\\", b"").replace(b"\\u00", b"")


@given(TEXTS, TEXTS, URLS, TEXTS)
def test_no_text_breaks_the_builders_of_texts(one: str, two: str, url: str, three: str) -> None:
    _sent(lambda: build_text_content(one))
    _sent(lambda: build_markdown_content(one))
    _sent(lambda: build_textcard_content(title=one, description=two, url=url, button_text=three))
    _sent(lambda: build_news_content(title=one, description=two, url=url, picture_url=url))


@given(TEXTS, TEXTS, URLS, st.integers(), st.floats())
def test_no_text_breaks_the_builders_of_cards(one: str, two: str, url: str, number: int, ratio: float) -> None:
    head = Head(url, one, two, Source(two, number), one)
    items = [(one, two)]
    _sent(lambda: build_text_notice(head, sub_title=two, lines=items, jumps=[(one, url)]))
    _sent(lambda: build_news_notice(head, picture_url=url, aspect_ratio=ratio, lines=items))
    _sent(lambda: build_text_notice(Head("https://a.example/", one), sub_title=two))
    _sent(
        lambda: build_button_interaction(
            Head("https://a.example/", one, task_id="t"), buttons=[Button(one, two, number)]
        )
    )
