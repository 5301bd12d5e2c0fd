"""Callbacks: encryption, receivers and retries, the effect of an answer, and addresses that hang or lead elsewhere."""

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from wecom_sandbox.callbacks.courier import (
    BadCallback,
    Courier,
    check_signature,
    decode_aes_key,
    decrypt,
    encrypt,
    sign_callback,
)
from wecom_sandbox.http import bodies
from wecom_sandbox.state.events import Callback
from wecom_sandbox.state.world import World
from wecom_sandbox.testing import ControlError

from tests.integrations.callback_sender import CORPID as VECTORS_CORPID
from tests.integrations.clients.wecom.test_callbacks import A_ECHO, VECTORS
from tests.sandbox.conftest import Api
from tests.sandbox.direct import MENU
from tests.sandbox.receiver import AES_KEY, TOKEN, Receiver, listening
from tests.sandbox.test_messages import BUTTON, MULTIPLE, TEXT_NOTICE, VOTE
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

APP = f"companies/{CORPID}/apps/{AGENTID}"
LILEI = f"companies/{CORPID}/members/lilei"


def log(sandbox: SandboxHandle, count: int) -> list[tuple[str, int, str]]:
    """Return event, attempt and outcome of every try, once there are `count` of them."""
    for _ in range(6000):
        records = sandbox.control("GET", "callbacks")["callbacks"]
        if len(records) >= count:
            return [(one["event"], one["attempt"], one["outcome"]) for one in records]
        time.sleep(0.01)
    raise AssertionError(f"only {records}")


def card(api: Api, content: dict[str, object] = BUTTON) -> str:
    return str(api.send("lilei|hanmeimei", msgtype="template_card", template_card=content)["msgid"])


def test_saving_the_address_asks_for_an_echo(sandbox: SandboxHandle, receiver: Receiver) -> None:
    assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}

    receiver.echo = lambda plain: f'"{plain}"'
    assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": "the answer is not the plain echo"}
    receiver.delay_seconds = 60
    assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": "no answer within 1 s"}


def test_a_button(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    msgid = card(api)
    sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": "yes"})

    event = receiver.wait(1)[0]

    response_code = event.pop("ResponseCode")
    assert str(event.pop("CreateTime")).isdecimal()
    assert event == {
        "ToUserName": CORPID,
        "FromUserName": "LiLei",
        "MsgType": "event",
        "Event": "template_card_event",
        "EventKey": "yes",
        "TaskId": "leave-7",
        "CardType": "button_interaction",
        "AgentID": str(AGENTID),
    }
    assert receiver.agentids == [str(AGENTID)]
    assert log(sandbox, 1) == [("template_card_event", 1, "ok")]
    update = {"agentid": AGENTID, "userids": ["lilei"], "response_code": response_code}
    assert api.post("message/update_template_card", {**update, "button": {"replace_name": "好"}})["errcode"] == 0


def test_an_answer_greys_the_button_of_this_person_only(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    receiver.answer = lambda event: (
        "<xml><MsgType>update_button</MsgType><Button><ReplaceName>已同意</ReplaceName></Button></xml>"
    )
    msgid = card(api)
    sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": "yes"})

    assert log(sandbox, 1) == [("template_card_event", 1, "replied")]
    assert sandbox.messages(CORPID, "lilei")[0]["replace_name"] == "已同意"
    assert "replace_name" not in sandbox.messages(CORPID, "hanmeimei")[0]
    with pytest.raises(ControlError, match="400 .*no such button"):
        sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": "yes"})


def test_an_answer_puts_another_card_in_place(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    """Answer without a TaskId: a click names that of the replaced card."""
    receiver.answer = lambda event: (
        "<xml><MsgType>update_template_card</MsgType><TemplateCard><CardType>button_interaction</CardType><MainTitle>"
        "<Title>新</Title></MainTitle><ButtonSelection><QuestionKey>q</QuestionKey><OptionList><Id>o1</Id><Text>甲</Text>"
        "</OptionList><SelectedId>o1</SelectedId><Disable>true</Disable></ButtonSelection><ButtonList><Text>撤回</Text>"
        "<Style>2</Style><Key>undo</Key></ButtonList></TemplateCard></xml>"
        if event["EventKey"] == "yes"
        else None
    )
    msgid = card(api)
    sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": "yes"})
    assert log(sandbox, 1) == [("template_card_event", 1, "replied")]

    shown = sandbox.messages(CORPID, "lilei")[0]["card"]
    assert shown["button_list"] == [{"text": "撤回", "style": 2, "key": "undo"}]
    sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": "undo", "selected": {"q": ["o1"]}})
    assert receiver.wait(2)[1]["TaskId"] == "leave-7"


SUBMIT = "<SubmitButton><Text>提交</Text><Key>k</Key></SubmitButton>"


def test_cards_in_answers_are_spelt_as_in_wecom_s_examples() -> None:
    xml = (
        "<CheckBox><QuestionKey>q</QuestionKey><OptionList><Id>o1</Id><IsChecked>true</IsChecked></OptionList>"
        f"<Disable>false</Disable><Mode>1</Mode></CheckBox>{SUBMIT}<SelectList><QuestionKey>q</QuestionKey></SelectList>"
        "<CardImage><AspectRatio>2.25</AspectRatio></CardImage>"
    )

    assert bodies.convert_card(bodies.parse_xml(f"<xml>{xml}</xml>".encode())) == {
        "checkbox": {
            **{"question_key": "q", "option_list": [{"id": "o1", "is_checked": True}]},
            **{"disable": False, "mode": 1},
        },
        "submit_button": {"text": "提交", "key": "k"},
        "select_list": [{"question_key": "q"}],
        "card_image": {"aspect_ratio": 2.25},
    }


CARD_MENU = TEXT_NOTICE | {"task_id": "n1", "action_menu": {"action_list": [{"text": "不再提醒", "key": "mute"}]}}


@pytest.mark.parametrize(
    ("content", "click", "told"),
    [
        (VOTE, {"key": "submit", "selected": {"when": ["tue"]}}, ("template_card_event", "when", "tue")),
        (MULTIPLE, {"key": "submit", "selected": {"dish": ["mon"]}}, ("template_card_event", "dish", "mon")),
        (CARD_MENU, {"key": "mute"}, ("template_card_menu_event", "", "")),
        (VOTE, {"key": "nothing"}, None),
        *(
            (VOTE, {"key": "submit", "selected": one}, None)
            for one in ({"when": ["sun"]}, {"when": ["mon", "tue"]}, {"what": ["mon"]}, {"when": "mon"}, ["mon"])
        ),
    ],
)
def test_what_is_chosen_is_told_and_what_the_phone_does_not_allow_refused(
    api: Api, sandbox: SandboxHandle, receiver: Receiver, content: Any, click: Any, told: tuple[str, str, str] | None
) -> None:
    body = {"msgid": card(api, content), **click}
    if told is None:
        with pytest.raises(ControlError, match="400"):
            sandbox.control("POST", f"{LILEI}/click", body)
        assert receiver.events == []
        return
    sandbox.control("POST", f"{LILEI}/click", body)

    name, question, option = told
    event = receiver.wait(1)[0]
    assert (event["Event"], event["EventKey"], event["TaskId"]) == (name, click["key"], content["task_id"])
    chosen = {"SelectedItem": {"QuestionKey": question, "OptionIds": {"OptionId": option}}} if question else None
    assert event.get("SelectedItems") == chosen


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("你好 ]]> &", "你好 ]]> &"),
        # Characters that XML forbids.
        ("a\x00b\x08\x1f ]]> & <c> \ufffe \U0001f600\n\t好", "a\ufffdb\ufffd\ufffd ]]> & <c> \ufffd \U0001f600\n\t好"),
    ],
)
def test_what_a_member_writes_is_told_and_answered(
    sandbox: SandboxHandle, receiver: Receiver, text: str, arrives: str
) -> None:
    receiver.answer = lambda event: "<xml><MsgType>text</MsgType><Content><![CDATA[已收到 <b>]]></Content></xml>"
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": text})

    assert log(sandbox, 1) == [("text", 1, "replied")]
    event = receiver.events[0]
    assert (event["MsgType"], event["Content"], event["FromUserName"]) == ("text", arrives, "LiLei")
    assert int(str(event["MsgId"])) > 7 * 10**18
    contents = [(one["sender"], one["text"]["content"]) for one in sandbox.messages(CORPID, "lilei")]
    assert contents == [("lilei", text), ("", "已收到 <b>")]


def test_the_menu_of_the_app(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    api.post("menu/create", MENU, agentid=AGENTID)
    opened = sandbox.control("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [0]})
    receiver.wait(1)
    sandbox.control("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [1, 0]})

    events = [(event["Event"], event["EventKey"]) for event in receiver.wait(2)]
    assert events == [("view", "https://portal.example.com/m"), ("click", "HELP")]
    assert opened == {"url": "https://portal.example.com/m"}


@pytest.mark.parametrize(
    ("answer", "outcomes"),
    [
        *(((200, body), ["ok"]) for body in ("success", "", "  ")),
        *(((200, body), ["bad reply"]) for body in ("ok", "<xml/>", "<xml><Encrypt>AAAA</Encrypt></xml>")),
        ((500, "broken"), ["not 200"] * 3),
        (None, ["no answer within 0.2 s"] * 3),
    ],
)
def test_an_event_is_delivered_three_times_at_most_each_with_a_new_signature(
    sandbox: SandboxHandle, receiver: Receiver, answer: tuple[int, str] | None, outcomes: list[str]
) -> None:
    """Log a bad answer without a retry; count an answer after the deadline as none."""
    if answer is None:
        sandbox.control("PATCH", "settings", {"callback_timeout_seconds": 0.2})
        receiver.delay_seconds = 60
    receiver.answer = lambda event: answer
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "x"})

    records = log(sandbox, len(outcomes))
    assert [(event, outcome.partition(":")[0]) for event, _, outcome in records] == [("text", one) for one in outcomes]
    assert [attempt for _, attempt, _ in records] == [*range(1, len(outcomes) + 1)]
    assert len(receiver.events) == len(set(receiver.signatures)) == len(outcomes)
    assert len({str(event) for event in receiver.events}) == 1


def test_a_duplicate_on_request(sandbox: SandboxHandle, receiver: Receiver) -> None:
    sandbox.fault("duplicate_callback", "callback")
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "x"})

    first, second = receiver.wait(2)
    assert first == second
    assert len(set(receiver.signatures)) == 2


def test_entering_is_told_where_the_app_asked(sandbox: SandboxHandle, receiver: Receiver) -> None:
    sandbox.session.get(f"{sandbox.base_url}/phone", params={"corpid": CORPID, "userid": "lilei"}, timeout=60)
    sandbox.session.get(f"{sandbox.base_url}/phone/chat/{AGENTID}", timeout=60)
    sandbox.control("PATCH", APP, {"isreportenter": 1})
    sandbox.session.get(f"{sandbox.base_url}/phone/chat/{AGENTID}", timeout=60)

    event = receiver.wait(1)[0]
    assert (event["Event"], event["EventKey"], event["AgentID"]) == ("enter_agent", None, str(AGENTID))


def write(sandbox: SandboxHandle, agentid: int = AGENTID) -> None:
    sandbox.control("POST", f"{LILEI}/write", {"agentid": agentid, "text": "x"})


REPLY = "<xml><MsgType>text</MsgType><Content>好</Content></xml>"


def test_what_comes_in_chunks_is_read_whole(sandbox: SandboxHandle, receiver: Receiver) -> None:
    """Read the echo, an answer and a passive reply. The next app's address gets none of this one's cookies."""
    receiver.pieces = 2
    assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}
    answers: Iterator[str | tuple[int, str]] = iter([(200, "success"), REPLY])
    receiver.answer = lambda event: next(answers)
    for number in (1, 2):
        write(sandbox)
        log(sandbox, number)

    assert [outcome for _, _, outcome in log(sandbox, 2)] == ["ok", "replied"]
    assert sandbox.messages(CORPID, "lilei")[-1]["text"]["content"] == "好"
    assert receiver.cookies == [None, None]


@pytest.mark.parametrize(
    ("length", "pieces", "seconds", "outcome"),
    [(8, 8, 0.4, "no answer within 0.4 s"), (4 * 1024 * 1024, 4, 60, "bad reply: not XML")],
)
def test_the_deadline_is_that_of_the_last_chunk_and_an_endless_answer_is_cut(
    sandbox: SandboxHandle, receiver: Receiver, length: int, pieces: int, seconds: float, outcome: str
) -> None:
    receiver.pieces, receiver.answer = pieces, lambda event: (200, "x" * length)
    sandbox.control("PATCH", "settings", {"callback_timeout_seconds": seconds, "callback_attempts": 1})
    write(sandbox)

    assert log(sandbox, 1) == [("text", 1, outcome)]


def test_addresses_that_hang_delay_no_other_app(sandbox: SandboxHandle, receiver: Receiver) -> None:
    """Use 30 apps with four events each: more than a client's connections by default."""
    hanging = range(10, 40)
    with listening(CORPID) as deaf:
        deaf.delay_seconds = 60
        apps = [
            {"agentid": number, "name": str(number), "secret": f"s{number}", "callback": deaf.callback}
            for number in hanging
        ]
        sandbox.control("POST", f"companies/{CORPID}/apps", apps)
        sandbox.control("PATCH", "settings", {"callback_timeout_seconds": 60})
        for number in hanging:
            for _ in range(5):
                write(sandbox, number)

        write(sandbox)

        assert receiver.wait(1)[0]["AgentID"] == str(AGENTID)
        # Four of each hanging app are under way, the fifth waits.
        assert sandbox.control("GET", "callbacks")["waiting"] == 30
        sandbox.control("POST", "reset", {})
        after = sandbox.control("GET", "callbacks")
        assert (after["callbacks"], after["waiting"], after["under_way"]) == ([], 0, 0)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers of the name service, one look-up after the other; the last one stays."""
    answers: list[str] = []

    async def getaddrinfo(self: object, host: str, port: int, **kwargs: Any) -> list[Any]:
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return answers


def verified(url: str) -> str:
    """Verify in a thread, because earlier browser tests leave a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(
            asyncio.run, Courier(World()).verify_callback(CORPID, Callback(url, TOKEN, AES_KEY))
        ).result()


@pytest.mark.parametrize("answers", [["192.0.2.1"], ["127.0.0.1", "192.0.2.1"], ["127.0.0.1"]])
def test_a_name_that_means_another_machine_when_it_is_connected_to(names: list[str], answers: list[str]) -> None:
    """Ignore what the name meant a moment before: tests/conftest.py watches every connection."""
    names += answers
    with listening(CORPID) as receiver:
        problem = verified(receiver.url.replace("127.0.0.1", "rebound.example.com"))

        # The first look-up of a connection counts; if it gives this machine, the echo is right.
        assert problem == ("" if answers[0] == "127.0.0.1" else "not on this machine")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        *((f"http://{host}:9/cb", "not on this machine") for host in ("192.0.2.1", "[2001:db8::1]")),
        *((f"http://{host}:9/cb", "not on this machine") for host in ("[::ffff:192.0.2.1]", "0.0.0.0")),  # noqa: S104  # refused
        ("http://3221225985:9/cb", "no connection: InvalidUrlClientError"),
        *((address, "not an http address") for address in ("ftp://127.0.0.1/cb", "http:///cb", "nonsense")),
    ],
)
def test_only_this_machine_is_reached(address: str, problem: str) -> None:
    assert verified(address) == problem


KEY = decode_aes_key(AES_KEY)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    message, random, timestamp, nonce, encrypted, signed = VECTORS[name]

    assert encrypt(message, key=KEY, receiveid=VECTORS_CORPID, random=random.encode()) == encrypted
    assert sign_callback(TOKEN, timestamp, nonce, encrypted) == signed
    assert decrypt(encrypted, key=KEY, receiveid=VECTORS_CORPID) == message


def test_the_two_spare_bits_of_a_key_do_not_matter_and_bad_keys_are_told() -> None:
    for last in "QRST":
        assert decode_aes_key(f"kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1a{last}").hex().endswith("40d2d5a4")
    for encoded in ("", "x" * 42, "!" * 43):
        with pytest.raises(ValueError, match="EncodingAESKey"):
            decode_aes_key(encoded)


@pytest.mark.parametrize("encrypted", ["", "====", "AAAA", "A" * 64, A_ECHO[:-4]])
def test_garbage_another_receiver_and_another_signature_are_refused(encrypted: str) -> None:
    with pytest.raises(BadCallback):
        decrypt(encrypted, key=KEY, receiveid=VECTORS_CORPID)
    with pytest.raises(BadCallback):
        decrypt(A_ECHO, key=KEY, receiveid="ww0000000000000000")
    with pytest.raises(BadCallback):
        check_signature("0" * 40, token=TOKEN, timestamp="1764000000", nonce="1372623149", encrypted=A_ECHO)
