"""Callbacks: what is told to whom, encrypted, how often, and what an answer does. wechatpy decrypts and encrypts."""

from __future__ import annotations

import time

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox.receiver import Receiver
from tests.sandbox.test_messages import BUTTON, MULTIPLE, TEXT_NOTICE, VOTE
from tests.sandbox.test_other_calls import MENU
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

APP = f"companies/{CORPID}/apps/{AGENTID}"
LILEI = f"companies/{CORPID}/members/lilei"


def log(sandbox: SandboxHandle, count: int) -> list[tuple[str, int, str]]:
    """Event, attempt and outcome of every try, as soon as there are so many."""
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


@pytest.mark.parametrize("url", ["http://192.0.2.1/cb", "ftp://127.0.0.1/cb", "http:///cb", "nonsense"])
def test_only_this_machine_is_reached(sandbox: SandboxHandle, receiver: Receiver, url: str) -> None:
    sandbox.control("PATCH", APP, {"callback": {**receiver.callback, "url": url}})

    problem = sandbox.control("POST", f"{APP}/callback/verify", {})["problem"]

    assert problem in ("not on this machine", "not an http address")


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
    again = sandbox.session.post(
        f"{sandbox.base_url}/sandbox/api/{LILEI}/click", json={"msgid": msgid, "key": "yes"}, timeout=60
    )
    assert again.status_code == 400


def test_an_answer_puts_another_card_in_place(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    receiver.answer = lambda event: (
        "<xml><MsgType>update_template_card</MsgType><TemplateCard><CardType>text_notice</CardType>"
        "<MainTitle><Title>已处理</Title></MainTitle>"
        "<HorizontalContentList><KeyName>人</KeyName><Value>李雷</Value></HorizontalContentList>"
        "<CardAction><Type>1</Type><Url>https://a.example/</Url></CardAction></TemplateCard></xml>"
    )
    sandbox.control("POST", f"{LILEI}/click", {"msgid": card(api), "key": "yes"})
    log(sandbox, 1)

    shown = sandbox.messages(CORPID, "lilei")[0]["card"]
    assert shown["main_title"] == {"title": "已处理"}
    assert shown["horizontal_content_list"] == [{"keyname": "人", "value": "李雷"}]
    assert shown["card_action"] == {"type": 1, "url": "https://a.example/"}


OPTION = "<OptionList><Id>o1</Id><Text>甲</Text></OptionList>"
SUBMIT = "<SubmitButton><Text>提交</Text><Key>k</Key></SubmitButton><ReplaceText>已提交</ReplaceText>"


@pytest.mark.parametrize(
    ("kind", "inner", "name", "expected"),
    [
        (
            "button_interaction",
            f"<ButtonSelection><QuestionKey>q</QuestionKey>{OPTION}<SelectedId>o1</SelectedId><Disable>true</Disable>"
            "</ButtonSelection><ButtonList><Text>撤回</Text><Style>2</Style><Key>undo</Key></ButtonList>",
            "button_list",
            [{"text": "撤回", "style": 2, "key": "undo"}],
        ),
        (
            "vote_interaction",
            "<CheckBox><QuestionKey>q</QuestionKey><OptionList><Id>o1</Id><Text>甲</Text><IsChecked>true</IsChecked>"
            f"</OptionList><Disable>false</Disable><Mode>1</Mode></CheckBox>{SUBMIT}",
            "checkbox",
            {
                "question_key": "q",
                "option_list": [{"id": "o1", "text": "甲", "is_checked": True}],
                "disable": False,
                "mode": 1,
            },
        ),
        (
            "multiple_interaction",
            f"<SelectList><QuestionKey>q</QuestionKey><Title>选</Title>{OPTION}</SelectList>{SUBMIT}",
            "select_list",
            [{"question_key": "q", "title": "选", "option_list": [{"id": "o1", "text": "甲"}]}],
        ),
        (
            "news_notice",
            "<CardImage><Url>https://a.example/p.png</Url><AspectRatio>2.25</AspectRatio></CardImage>"
            "<JumpList><Type>2</Type><Title>去</Title><AppId>wx1</AppId><PagePath>p</PagePath></JumpList>"
            "<CardAction><Type>1</Type><Url>https://a.example/</Url></CardAction>",
            "jump_list",
            [{"type": 2, "title": "去", "appid": "wx1", "pagepath": "p"}],
        ),
    ],
)
def test_cards_in_answers_are_spelt_as_in_wecom_s_examples(
    api: Api, sandbox: SandboxHandle, receiver: Receiver, kind: str, inner: str, name: str, expected: object
) -> None:
    """CamelCase with KeyName, CheckBox and AppId, and no TaskId: a click names that of the card that it replaced."""
    receiver.answer = lambda event: (
        f"<xml><MsgType>update_template_card</MsgType><TemplateCard><CardType>{kind}</CardType>"
        f"<MainTitle><Title>新</Title></MainTitle>{inner}</TemplateCard></xml>"
        if event["EventKey"] == "yes"
        else None
    )
    msgid = card(api)
    sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": "yes"})
    assert log(sandbox, 1) == [("template_card_event", 1, "replied")]

    shown = sandbox.messages(CORPID, "lilei")[0]["card"]
    assert shown[name] == expected
    if kind == "button_interaction":
        sandbox.control("POST", f"{LILEI}/click", {"msgid": msgid, "key": "undo", "selected": {"q": ["o1"]}})
        assert receiver.wait(2)[1]["TaskId"] == "leave-7"


def test_a_vote_and_a_selection_carry_what_was_chosen(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    vote = {"msgid": card(api, VOTE), "key": "submit", "selected": {"when": ["tue"]}}
    meal = {"msgid": card(api, MULTIPLE), "key": "submit", "selected": {"dish": ["mon"]}}
    sandbox.control("POST", f"{LILEI}/click", vote)
    receiver.wait(1)
    sandbox.control("POST", f"{LILEI}/click", meal)

    first, second = receiver.wait(2)
    assert first["SelectedItems"] == {"SelectedItem": {"QuestionKey": "when", "OptionIds": {"OptionId": "tue"}}}
    assert second["SelectedItems"] == {"SelectedItem": {"QuestionKey": "dish", "OptionIds": {"OptionId": "mon"}}}


@pytest.mark.parametrize(
    "click",
    [
        {"key": "nothing"},
        {"key": "submit", "selected": {"when": ["sun"]}},
        {"key": "submit", "selected": {"when": ["mon", "tue"]}},
        {"key": "submit", "selected": {"what": ["mon"]}},
        {"key": "submit", "selected": {"when": "mon"}},
        {"key": "submit", "selected": ["mon"]},
    ],
)
def test_clicks_that_the_phone_does_not_allow(
    api: Api, sandbox: SandboxHandle, receiver: Receiver, click: dict[str, object]
) -> None:
    body = {"msgid": card(api, VOTE), **click}

    response = sandbox.session.post(f"{sandbox.base_url}/sandbox/api/{LILEI}/click", json=body, timeout=60)

    assert response.status_code == 400
    assert receiver.events == []


def test_the_menu_of_a_card(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    notice = TEXT_NOTICE | {"task_id": "n1", "action_menu": {"action_list": [{"text": "不再提醒", "key": "mute"}]}}
    sandbox.control("POST", f"{LILEI}/click", {"msgid": card(api, notice), "key": "mute"})

    event = receiver.wait(1)[0]
    assert (event["Event"], event["EventKey"], event["TaskId"]) == ("template_card_menu_event", "mute", "n1")


def test_the_menu_of_the_app(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    api.post("menu/create", MENU, agentid=AGENTID)
    opened = sandbox.control("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [0]})
    receiver.wait(1)
    sandbox.control("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [1, 0]})

    events = [(event["Event"], event["EventKey"]) for event in receiver.wait(2)]
    assert events == [("view", "https://portal.example.com/m"), ("click", "HELP")]
    assert opened == {"url": "https://portal.example.com/m"}


def test_what_a_member_writes_is_told_and_answered(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    receiver.answer = lambda event: "<xml><MsgType>text</MsgType><Content><![CDATA[已收到 <b>]]></Content></xml>"
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "你好 ]]> &"})
    log(sandbox, 1)

    event = receiver.events[0]
    assert (event["MsgType"], event["Content"], event["FromUserName"]) == ("text", "你好 ]]> &", "LiLei")
    assert int(str(event["MsgId"])) > 7 * 10**18
    contents = [(one["sender"], one["text"]["content"]) for one in sandbox.messages(CORPID, "lilei")]
    assert contents == [("lilei", "你好 ]]> &"), ("", "已收到 <b>")]


def test_what_no_xml_may_hold_does_not_break_a_callback(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    text = "a\x00b\x08\x1f ]]> & <c> \ufffe \U0001f600\n\t好"
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": text})

    event = receiver.wait(1)[0]
    assert event["Content"] == "a\ufffdb\ufffd\ufffd ]]> & <c> \ufffd \U0001f600\n\t好"
    assert log(sandbox, 1) == [("text", 1, "ok")]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("scancode_push", "ScanCodeInfo", {"ScanType": "qrcode", "ScanResult": "sandbox"}),
        ("scancode_waitmsg", "ScanCodeInfo", {"ScanType": "qrcode", "ScanResult": "sandbox"}),
        (
            "pic_sysphoto",
            "SendPicsInfo",
            {"Count": "1", "PicList": {"item": {"PicMd5Sum": "0cc175b9c0f1b6a831c399e269772661"}}},
        ),
        (
            "location_select",
            "SendLocationInfo",
            {
                "Location_X": "23.1291",
                "Location_Y": "113.2644",
                "Scale": "15",
                "Label": "广东省广州市",
                "Poiname": None,
            },
        ),
    ],
)
def test_entries_of_the_menu_that_use_the_phone(
    api: Api, sandbox: SandboxHandle, receiver: Receiver, kind: str, name: str, expected: object
) -> None:
    api.post("menu/create", {"button": [{"type": kind, "name": "n", "key": "K"}]}, agentid=AGENTID)
    sandbox.control("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [0]})

    event = receiver.wait(1)[0]
    assert (event["Event"], event["EventKey"], event[name]) == (kind, "K", expected)


def test_members_send_more_than_texts(api: Api, sandbox: SandboxHandle, receiver: Receiver) -> None:
    receiver.answer = lambda event: "<xml><MsgType>text</MsgType><Content>收到位置</Content></xml>"
    place = {"Location_X": "23.1", "Location_Y": "113.2", "Scale": "15", "Label": "广州", "AppType": "wxwork"}
    sandbox.control("POST", f"{LILEI}/message", {"agentid": AGENTID, "msgtype": "location", "elements": place})

    event = receiver.wait(1)[0]
    assert str(event.pop("CreateTime")).isdecimal()
    assert str(event.pop("MsgId")).isdecimal()
    assert event == {
        "ToUserName": CORPID,
        "FromUserName": "LiLei",
        "MsgType": "location",
        **place,
        "AgentID": str(AGENTID),
    }
    assert log(sandbox, 1) == [("location", 1, "replied")]
    assert sandbox.messages(CORPID, "lilei")[0]["text"] == {"content": "收到位置"}


@pytest.mark.parametrize(
    "values", [{"msgtype": "event"}, {"msgtype": "text"}, {"msgtype": "link", "elements": []}, {"msgtype": 1}]
)
def test_messages_that_nobody_can_send(sandbox: SandboxHandle, values: dict[str, object]) -> None:
    url = f"{sandbox.base_url}/sandbox/api/{LILEI}/message"

    assert sandbox.session.post(url, json={"agentid": AGENTID, **values}, timeout=60).status_code == 400


def test_any_other_event(sandbox: SandboxHandle, receiver: Receiver) -> None:
    elements = {"Latitude": 30.1, "Longitude": 120.2, "Precision": 10, "AppType": "wxwork"}
    sandbox.control("POST", f"{LILEI}/event", {"agentid": AGENTID, "event": "LOCATION", "elements": elements})

    event = receiver.wait(1)[0]
    assert (event["Event"], event["Latitude"], event["AgentID"]) == ("LOCATION", "30.1", str(AGENTID))


def test_three_deliveries_each_with_a_new_signature(sandbox: SandboxHandle, receiver: Receiver) -> None:
    receiver.answer = lambda event: (500, "broken")
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "x"})

    assert log(sandbox, 3) == [("text", 1, "not 200"), ("text", 2, "not 200"), ("text", 3, "not 200")]
    assert len(receiver.events) == 3
    assert len({str(event) for event in receiver.events}) == 1
    assert len(set(receiver.signatures)) == 3


def test_an_answer_after_the_deadline_is_none(sandbox: SandboxHandle, receiver: Receiver) -> None:
    sandbox.control("PATCH", "settings", {"callback_timeout_seconds": 0.2, "callback_attempts": 2})
    receiver.delay_seconds = 60
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "x"})

    assert log(sandbox, 2) == [("text", 1, "no answer within 0.2 s"), ("text", 2, "no answer within 0.2 s")]


@pytest.mark.parametrize("body", ["success", "", "  "])
def test_answers_that_say_nothing(sandbox: SandboxHandle, receiver: Receiver, body: str) -> None:
    receiver.answer = lambda event: (200, body)
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "x"})

    assert log(sandbox, 1) == [("text", 1, "ok")]


@pytest.mark.parametrize("body", ["ok", "<xml/>", "<xml><Encrypt>AAAA</Encrypt><MsgSignature>0</MsgSignature></xml>"])
def test_bad_answers_are_noted_and_not_asked_for_again(sandbox: SandboxHandle, receiver: Receiver, body: str) -> None:
    receiver.answer = lambda event: (200, body)
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "x"})

    ((event, attempt, outcome),) = log(sandbox, 1)
    assert (event, attempt, outcome.partition(":")[0]) == ("text", 1, "bad reply")


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


def test_the_verification_file(sandbox: SandboxHandle, receiver: Receiver) -> None:
    sandbox.control("PATCH", APP, {"trusted_domain": receiver.url.split("/")[2]})

    answer = sandbox.control("POST", f"{APP}/domain/verify", {})

    assert answer["file"].startswith("WW_verify_")
    assert len(answer["file"]) == len("WW_verify_") + 16 + len(".txt")
    assert answer["problem"] == ""
    assert sandbox.control("GET", f"companies/{CORPID}")["apps"][0]["domain_verified"] is True
