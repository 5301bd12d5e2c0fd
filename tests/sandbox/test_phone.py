"""The phone's pages over HTTP: who sees what, what is listed, and what one may do there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Api, hold_phone
from tests.sandbox.direct import AMR, MENU, MP4, PNG
from tests.sandbox.test_messages import BUTTON, TEXT_NOTICE, VOTE
from tests.sandbox.test_other_calls import push, upload
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

CHAT = f"/phone/chat/{AGENTID}"


def get(sandbox: SandboxHandle, path: str, **kwargs: Any) -> requests.Response:
    return sandbox.session.get(sandbox.base_url + path, timeout=60, **kwargs)


def line(sandbox: SandboxHandle) -> str:
    """Return the last message of the app's conversation as HTML, with white space folded."""
    lines = re.findall(r'<li class="line.*?</li>', get(sandbox, CHAT).text, re.DOTALL)
    return re.sub(r"\s+", " ", lines[-1])


def act(sandbox: SandboxHandle, what: str, document: object) -> requests.Response:
    return sandbox.session.post(f"{sandbox.base_url}{CHAT}/{what}", json=document, timeout=60)


def test_nobody_holds_the_phone_at_first(sandbox: SandboxHandle) -> None:
    for path in ("/phone", CHAT, "/phone/workbench", "/phone/me", "/phone/events"):
        response = get(sandbox, path, allow_redirects=False)
        assert (response.status_code, response.headers["Location"]) == (302, "/phone/choose")


def test_every_page_says_that_it_is_a_sandbox(phone: SandboxHandle) -> None:
    console = ("", "/faults", "/log", f"/{CORPID}", f"/{CORPID}/members", f"/{CORPID}/apps/{AGENTID}")
    pages = ["/phone", CHAT, *(f"/phone/{name}" for name in ("workbench", "me", "choose"))]
    pages += [f"/console{path}" for path in console]
    for path in (*pages, "/connect/oauth2/authorize?appid=x", "/wwlogin/sso/login"):
        response = get(phone, path)
        assert (path, response.status_code) == (path, 200)
        for words in ("沙箱，不是真正的企业微信", "Sandbox, not the real WeCom"):
            assert words in response.text
        assert "script-src 'self'; style-src 'self'" in response.headers["Content-Security-Policy"]
        assert not re.search(r'(src|href)="(https?:)?//(?!localhost:3001/)', response.text)
    assert "工作台" in get(phone, "/phone").text
    assert "Workbench" in get(phone, "/phone?lang=en").text
    assert "Workbench" in get(phone, "/phone").text


def test_who_holds_the_phone_sees_her_apps_until_she_leaves(sandbox: SandboxHandle) -> None:
    for userid in ("ghost", ""):
        assert get(sandbox, f"/phone?corpid={CORPID}&userid={userid}").status_code == 404
    for following in ("//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:x"):
        query = {"corpid": CORPID, "userid": "jim", "next": following}
        assert get(sandbox, "/phone", params=query, allow_redirects=False).headers["Location"] == "/phone"
    assert "观远BI" not in get(sandbox, "/phone/workbench").text
    hold_phone(sandbox, "lilei")
    assert 'href="http://localhost:3001/"' in get(sandbox, "/phone/workbench").text

    sandbox.control("DELETE", f"companies/{CORPID}/members/lilei")
    assert get(sandbox, "/phone", allow_redirects=False).headers["Location"] == "/phone/choose"


def test_a_press_and_an_update_show(phone: SandboxHandle, api: Api) -> None:
    sent = api.send(msgtype="template_card", template_card=VOTE)
    assert act(phone, "click", {"msgid": sent["msgid"], "key": "submit", "selected": {"when": ["tue"]}}).ok
    assert 'value="tue" data-question="when" checked' in line(phone)

    body = {"agentid": AGENTID, "atall": 1, "response_code": sent["response_code"], "button": {"replace_name": "已投"}}
    api.post("message/update_template_card", body)
    assert '<button type="button" disabled>已投</button>' in line(phone)
    assert 'data-key="submit"' not in line(phone)


def test_acting_needs_json_and_a_holder(phone: SandboxHandle) -> None:
    url = f"{phone.base_url}{CHAT}/write"
    assert phone.session.post(url, data='{"text": "x"}', timeout=60).status_code == 415
    hold_phone(phone, "~guest")
    response = act(phone, "write", {"text": "x"})
    assert (response.status_code, response.json()) == (403, {"error": "访客只能查看消息，请改由公司成员使用这部手机。"})
    phone.session.cookies.clear()
    response = act(phone, "write", {"text": "x"})
    assert (response.status_code, response.json()) == (403, {"error": "这部手机当前无人使用，请重新选择使用者。"})
    hold_phone(phone, "lilei")
    response = phone.session.post(f"{phone.base_url}/phone/chat/7/write?lang=en", json={"text": "x"}, timeout=60)
    assert (response.status_code, response.json()) == (404, {"error": "This app does not exist any more."})


@pytest.mark.parametrize(
    ("what", "document", "said"),
    [
        ("click", {"msgid": "gone", "key": "yes"}, "该卡片已不存在。"),
        ("click", {"key": "maybe"}, "该按钮已不可点击。"),
        ("click", {"key": "yes", "selected": {"q": ["x"]}}, "该选项已不可选。"),
        ("click", {"key": "yes", "selected": []}, "沙箱无法识别该操作。"),
        ("click", {"key": "yes", "selected": "tue"}, "沙箱无法识别该操作。"),
        ("click", {"key": "yes", "selected": None}, "沙箱无法识别该操作。"),
        ("click", {"key": "yes", "selected": {"q": 7}}, "沙箱无法识别该操作。"),
        *((what, {"path": 1}, "沙箱无法识别该操作。") for what in ("menu", "write")),
        ("write", [], "沙箱无法识别该操作。"),
        ("menu", {"path": [0]}, "应用菜单已更新，请重新打开会话。"),
        ("write", {"text": "x"}, ""),
    ],
)
def test_what_cannot_be_done_is_said_in_the_reader_s_language(
    phone: SandboxHandle, api: Api, what: str, document: object, said: str
) -> None:
    msgid = api.send(msgtype="template_card", template_card=BUTTON)["msgid"]

    sent = {"msgid": msgid, **document} if isinstance(document, dict) else document
    response = act(phone, what, sent)

    assert (response.status_code, response.json().get("error", "")) == (400 if said else 200, said)


def test_the_list_of_conversations_says_what_a_message_is(phone: SandboxHandle, api: Api) -> None:
    def listed() -> str:
        return str(re.findall(r'<span class="preview">(.*?)</span>', get(phone, "/phone").text)[0])

    assert listed() == "暂无消息"
    api.send(text={"content": '日报<a href="https://a.example/">已出</a>\n请看'})
    assert listed() == "日报已出 请看"
    markdown = '## 题\n> **粗**`码`\n<font color="info">**绿**</font>[表](https://a.example/)'
    api.send(msgtype="markdown", markdown={"content": markdown})
    assert listed() == "题 粗码 绿表"
    kinds = (("image", PNG, "图片"), ("voice", AMR, "语音"), ("video", MP4, "视频"), ("file", b"123456", "文件"))
    for kind, body, label in kinds:
        api.send("lilei", msgtype=kind, **{kind: {"media_id": upload(api, kind, body, "甲.dat")["media_id"]}})
        assert listed() == f"[{label}] 甲.dat"
    api.send(msgtype="template_card", template_card=BUTTON)
    assert listed() == "请假申请"
    msgid = api.send(msgtype="template_card", template_card={**TEXT_NOTICE, "main_title": {}, "sub_title_text": "<b>"})
    assert listed() == "&lt;b&gt;"
    api.post("message/recall", {"msgid": msgid["msgid"]})
    assert listed() == "该消息已被撤回"
    assert re.search(r"<time [^>]*>\d\d:\d\d</time>", get(phone, "/phone").text)
    phone.advance(24 * 3600)
    assert re.search(r"<time [^>]*>\d\d-\d\d</time>", get(phone, "/phone").text)


def test_menu_and_writing(phone: SandboxHandle, api: Api) -> None:
    api.post("menu/create", MENU, agentid=AGENTID)

    assert 'data-menu="1,0">帮助</button>' in get(phone, CHAT).text
    assert act(phone, "menu", {"path": [0]}).json() == {"url": "https://portal.example.com/m"}
    assert act(phone, "write", {"text": " 你好 <b> "}).ok
    assert '<li class="line mine"' in line(phone)
    assert "你好 &lt;b&gt;" in line(phone)


def test_groups_and_robots(phone: SandboxHandle, api: Api) -> None:
    phone.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    phone.control("POST", f"companies/{CORPID}/robots", [{"key": "k1", "name": "日报机器人"}])
    api.post("appchat/create", {"name": "周报群", "userlist": ["lilei", "jim"], "chatid": "c1"})
    api.post("appchat/send", {"chatid": "c1", "msgtype": "text", "text": {"content": "群里好"}})
    push(api, "markdown", "k1", content="**早**")

    listed = get(phone, "/phone").text
    assert "周报群" in listed
    assert "日报机器人" in listed
    assert "群里好" in get(phone, "/phone/group/c1").text
    assert "<b>早</b>" in get(phone, "/phone/robot/k1").text
    assert "群里好" not in get(phone, CHAT).text
    hold_phone(phone, "hanmeimei")
    assert get(phone, "/phone/group/c1").status_code == 404
