"""Phone and console over HTTP: who sees and may do what, and messages, in which hostile content does nothing."""

import re
from typing import Any

import pytest
import requests
from wecom_sandbox.api import load_endpoints
from wecom_sandbox.api.call import ENDPOINTS, OPEN_ENDPOINTS
from wecom_sandbox.limits.limits import FAULT_KINDS

from tests.sandbox.conftest import Api, hold_phone
from tests.sandbox.direct import AMR, MENU, MP4, PNG
from tests.sandbox.receiver import listening
from tests.sandbox.test_calls import push, upload
from tests.sandbox.test_messages import BUTTON, MULTIPLE, NEWS_NOTICE, OPTIONS, TEXT_NOTICE, VOTE
from tests.sandbox.test_oauth import authorize
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


def test_text(phone: SandboxHandle, api: Api) -> None:
    content = 'a < b\n<a href="https://a.example/?x=1&y=2">表</a><a href="javascript:alert(1)">j</a><script>x</script>'
    api.send(text={"content": content})

    assert '<div class="bubble">a &lt; b<br><a class="link" href="https://a.example/?x=1&amp;y=2"' in line(phone)
    assert "j&lt;script&gt;x&lt;/script&gt;</div>" in line(phone)
    assert "javascript:" not in line(phone)


def test_markdown(phone: SandboxHandle, api: Api) -> None:
    content = (
        '## 题\n**粗** `c<` <font color="warning">红</font>\n> 引\n'
        "[x](javascript:1) [表](https://a.example/)<img src=x>"
    )
    api.send(msgtype="markdown", markdown={"content": content})

    drawn = line(phone)
    assert '<div class="h2">题</div><div><b>粗</b> <code>c&lt;</code> <span class="warning">红</span></div>' in drawn
    assert '<div class="quote">引</div>' in drawn
    assert 'href="https://a.example/"' in drawn
    assert "javascript:" not in drawn
    assert "&lt;img src=x&gt;" in drawn


def test_textcard(phone: SandboxHandle, api: Api) -> None:
    description = '<div class="gray">灰</div><br><div class="highlight">亮<div class="evil">x</div><b>'
    card = {"title": "<i>题", "description": description, "url": "javascript://a%0aalert(1)"}
    api.send(msgtype="textcard", textcard=card)

    drawn = line(phone)
    assert "<h3>&lt;i&gt;题</h3>" in drawn
    assert '<div class="gray">灰</div><br><div class="highlight">亮&lt;div class=&quot;evil&quot;&gt;x</div>' in drawn
    assert "&lt;b&gt;</div>" in drawn
    assert "javascript:" not in drawn
    api.send(msgtype="textcard", textcard=card | {"url": "https://a.example/"})
    assert '<a class="card" href="https://a.example/" target="_blank" rel="noopener noreferrer">' in line(phone)


def test_files(phone: SandboxHandle, api: Api) -> None:
    for kind, body in (("image", PNG), ("voice", AMR), ("video", MP4), ("file", b"<script>alert(1)</script>")):
        media_id = upload(api, kind, body, "<b>.html")["media_id"]
        api.send("lilei", msgtype=kind, **{kind: {"media_id": media_id}})

        assert f'"/sandbox/media/{media_id}"' in line(phone)
        assert "<b>.html" not in line(phone)
        response = get(phone, f"/sandbox/media/{media_id}")
        assert response.content == body
        assert response.headers["Content-Type"] == ("image/png" if kind == "image" else "application/octet-stream")
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_articles_of_mpnews_open_in_a_cage(phone: SandboxHandle, api: Api) -> None:
    media_id = upload(api, "image", PNG)["media_id"]
    article = {"title": "通知", "thumb_media_id": media_id, "content": "<h2>放假</h2><script>alert(1)</script>"}
    msgid = api.send(msgtype="mpnews", mpnews={"articles": [article]})["msgid"]

    assert f'href="/phone/article/{msgid}/0"' in line(phone)
    outer = get(phone, f"/phone/article/{msgid}/0")
    assert '<iframe class="article-frame" sandbox=""' in outer.text
    assert "放假" not in outer.text
    inner = get(phone, f"/phone/article/{msgid}/0/body")
    assert inner.text == article["content"]
    assert inner.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
    for index in ("1", "-1", "9" * 5000, "٠", "x"):
        assert get(phone, f"/phone/article/{msgid}/{index}").status_code == 404
    hold_phone(phone, "hanmeimei")
    assert get(phone, f"/phone/article/{msgid}/0/body").status_code == 404


def test_news_recalled_and_confidential_messages_and_notices_of_mini_programs(phone: SandboxHandle, api: Api) -> None:
    articles = [
        {"title": "一", "url": "https://a.example/1", "picurl": "https://cdn.example.com/p.png"},
        {"title": "二", "url": "https://a.example/2", "picurl": "http://localhost:3001/p.png"},
    ]
    api.send(msgtype="news", news={"articles": articles})
    assert 'src="http://localhost:3001/p.png"' in line(phone)
    assert ("cdn.example.com" in line(phone), "cdn.example.com/p.png" in line(phone)) == (True, False)

    msgid = api.send(text={"content": "机密"}, safe=1)["msgid"]
    assert "保密消息" in line(phone)
    api.post("message/recall", {"msgid": msgid})
    assert ("机密" in line(phone), "该消息已被撤回" in line(phone)) == (False, True)

    phone.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"mini_program_appid": "wx1"})
    notice = {"appid": "wx1", "title": "会议室预订", "content_item": [{"key": "房间", "value": "<b>402"}]}
    api.send(msgtype="miniprogram_notice", miniprogram_notice=notice)
    assert "<dt>房间</dt><dd>&lt;b&gt;402</dd>" in line(phone)


CHECKED = VOTE | {"checkbox": {**VOTE["checkbox"], "option_list": [{**OPTIONS[0], "is_checked": True}, OPTIONS[1]]}}


@pytest.mark.parametrize(
    ("card", "pieces"),
    [
        (TEXT_NOTICE, ["<h3>日报</h3>", "<b>100</b><span>销售额</span>", 'href="https://portal.example.com/m/7"']),
        (NEWS_NOTICE, ["<h3>日报</h3>", "portal.example.com"]),
        (BUTTON, ['data-key="yes">同意</button>', 'class="style-2" data-key="no">驳回</button>']),
        (VOTE, ['type="radio"', 'value="tue" data-question="when"', 'data-key="submit">提交</button>']),
        (CHECKED, ['value="mon" data-question="when" checked>', 'value="tue" data-question="when" >']),
        (MULTIPLE, ['<select data-question="dish"', '<option value="mon" >周一</option>']),
        (
            TEXT_NOTICE | {"task_id": "m", "action_menu": {"action_list": [{"text": "静音", "key": "mute"}]}},
            ['data-key="mute">静音</button>'],
        ),
        (
            TEXT_NOTICE
            | {
                "source": {"desc": "<b>来源", "desc_color": 2},
                "quote_area": {"type": 1, "url": "javascript://x%0a1", "title": "引", "quote_text": "一\n二"},
                "horizontal_content_list": [
                    {"keyname": "链接", "type": 1, "url": "https://a.example/", "value": "去"},
                    {"keyname": "人", "type": 3, "userid": "jim"},
                ],
                "jump_list": [{"title": "跳", "type": 1, "url": "https://a.example/j"}],
            },
            [
                '<span class="source-red">&lt;b&gt;来源</span>',
                "一<br>二",
                ">去</a>",
                "@jim",
                'href="https://a.example/j"',
            ],
        ),
    ],
)
def test_template_cards(phone: SandboxHandle, api: Api, card: dict[str, Any], pieces: list[str]) -> None:
    assert api.send(msgtype="template_card", template_card=card)["errcode"] == 0

    for piece in pieces:
        assert piece in line(phone)
    assert "javascript:" not in line(phone)


@pytest.mark.parametrize("card", [VOTE, MULTIPLE])
def test_an_update_may_close_a_question(phone: SandboxHandle, api: Api, card: dict[str, Any]) -> None:
    sent = api.send(msgtype="template_card", template_card=card)
    assert not re.search(r"<(fieldset|select)[^>]* disabled", line(phone))
    closed = {"checkbox": VOTE["checkbox"] | {"disable": True}}
    if card is MULTIPLE:
        closed = {"select_list": [MULTIPLE["select_list"][0] | {"disable": True}]}

    body = {"agentid": AGENTID, "userids": ["lilei"], "response_code": sent["response_code"]}
    api.post("message/update_template_card", {**body, "template_card": card | closed})

    assert re.search(r"<(fieldset|select)[^>]* disabled", line(phone))


def test_a_card_s_picture_has_the_shape_that_it_asks_for(phone: SandboxHandle, api: Api) -> None:
    for ratio, css in ((1.3, "ratio-13"), (1.777, "ratio-17"), (2.25, "ratio-22")):
        image = {"url": "http://localhost:3001/p.png", "aspect_ratio": ratio}
        api.send(msgtype="template_card", template_card={**NEWS_NOTICE, "card_image": image})
        assert f'<span class="tcard-image {css}"><img src="http://localhost:3001/p.png"' in line(phone)


def test_who_is_mentioned_stands_there_by_name(phone: SandboxHandle, api: Api) -> None:
    phone.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    phone.control("POST", f"companies/{CORPID}/robots", [{"key": "k1", "name": "日报机器人"}])
    api.post("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "c1"})
    text = {"content": "<@LILEI> 看 <@ghost> <b>", "mentioned_list": ["jim", "@all"]}
    assert api.post("appchat/send", {"chatid": "c1", "msgtype": "text", "text": text})["errcode"] == 0
    push(api, "text", "k1", content="早", mentioned_list=["hanmeimei"], mentioned_mobile_list=["13000000001"])
    push(api, "markdown", "k1", content="> <@jim> **<@lilei>**")

    assert '<span class="preview">@李雷 看 @ghost &lt;b&gt;</span>' in get(phone, "/phone").text
    drawn = get(phone, "/phone/group/c1").text
    for name in ("@李雷</span> 看 ", "@ghost</span> &lt;b&gt; ", "@Jim</span>", "@all</span>"):
        assert name in drawn
    drawn = get(phone, "/phone/robot/k1").text
    for name in ("早 <span", "@韩梅梅</span>", "@13000000001</span>", "@Jim</span> <b><span", "@李雷</span></b>"):
        assert name in drawn
    messages = phone.control("GET", f"companies/{CORPID}/messages")["messages"]
    assert messages[0]["text"]["mentioned_list"] == ["jim", "@all"]
    assert messages[1]["text"]["mentioned_mobile_list"] == ["13000000001"]


load_endpoints()
APP = f"companies/{CORPID}/apps/{AGENTID}"


def save(sandbox: SandboxHandle, **values: object) -> requests.Response:
    return sandbox.session.patch(f"{sandbox.base_url}/sandbox/api/{APP}/console", json=values, timeout=60)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"trusted_domain": "https://bi.example.com"}, "域名不能带 http:// 或 https://。"),
        ({"trusted_domain": "bi.example.com/path"}, "域名只能是主机名"),
        ({"trusted_domain": "192.0.2.1"}, "域名只能是主机名"),
        ({"callback_domain": "a_b.example.com"}, "域名只能是主机名"),
        ({"callback_domain": 7}, "域名只能是主机名"),
        ({"home_url": "bi.example.com"}, "应用主页必须以 http:// 或 https:// 开头。"),
        ({"trusted_ips": ["1.2.3"]}, "1.2.3 不是 IP 地址"),
        ({"trusted_ips": ["192.0.2.1"], "trusted_domain": ""}, "须先设置可信域名或接收消息服务器"),
        ({"secret": "x"}, "the body must be an object of"),
        ({"callback": {"url": "http://127.0.0.1:1/", "token": "t", "aes_key": "x" * 43}}, "40057"),
        ({"callback": {"url": "http://127.0.0.1:1/", "token": "t", "aes_key": "x"}}, "43 characters"),
    ],
)
def test_refused(sandbox: SandboxHandle, values: dict[str, Any], complaint: str) -> None:
    before = sandbox.control("GET", f"companies/{CORPID}")

    response = save(sandbox, **values)

    assert response.status_code == 400
    assert complaint in response.json()["error"]
    assert sandbox.control("GET", f"companies/{CORPID}") == before


def test_a_new_domain_is_of_no_use_until_it_is_verified(sandbox: SandboxHandle) -> None:
    hold_phone(sandbox, "lilei")
    with listening(CORPID) as site:
        assert save(sandbox, callback=site.callback).ok
        assert sandbox.control("GET", f"companies/{CORPID}")["apps"][0]["callback"] == site.callback
        domain = site.url.split("/")[2]
        save(sandbox, trusted_domain="localhost:3001")
        assert authorize(sandbox).status_code == 302

        save(sandbox, trusted_domain=domain.replace("127.0.0.1", "localhost"))
        uri = f"http://{domain.replace('127.0.0.1', 'localhost')}/cb"
        assert authorize(sandbox, redirect_uri=uri).status_code == 200
        assert sandbox.control("POST", f"{APP}/domain/verify", {})["problem"] == ""
        assert authorize(sandbox, redirect_uri=uri).status_code == 302


def test_a_new_address_takes_a_minute(sandbox: SandboxHandle, api: Api) -> None:
    sandbox.control("PATCH", "settings", {"caller_ip": "203.0.113.9"})
    save(sandbox, trusted_ips=["203.0.113.9", "192.0.2.1"])

    assert api.get("user/get", userid="lilei")["errcode"] == 60020
    sandbox.advance(60)
    assert api.get("user/get", userid="lilei")["errcode"] == 0
    save(sandbox, trusted_ips=["203.0.113.9"])
    assert api.get("user/get", userid="lilei")["errcode"] == 0


def test_an_app_whose_callers_are_not_checked_is_told(sandbox: SandboxHandle) -> None:
    def is_warned() -> bool:
        return '<p class="error">当前不检查该应用的调用 IP' in sandbox.session.get(page, timeout=60).text

    page = f"{sandbox.base_url}/console/{CORPID}/apps/{AGENTID}"
    assert is_warned()
    sandbox.control("PATCH", "settings", {"trusted_ips_required": True})
    assert not is_warned()
    sandbox.control("PATCH", "settings", {"trusted_ips_required": False})
    save(sandbox, trusted_ips=[])
    assert not is_warned()


def test_what_is_handed_out(sandbox: SandboxHandle, api: Api) -> None:
    secret = sandbox.control("POST", f"{APP}/secret", {})["secret"]
    file = sandbox.session.get(f"{sandbox.base_url}/sandbox/verification/{CORPID}/{AGENTID}", timeout=60)

    assert len(secret) == 43
    assert Api(sandbox, secret=secret).get("user/get", userid="lilei")["errcode"] == 0
    assert api.raw("GET", "gettoken", params={"corpid": CORPID, "corpsecret": api.secret}).json()["errcode"] == 40001
    assert file.headers["Content-Disposition"].split('"')[1] == f"WW_verify_{file.text}.txt"
    assert len(file.text) == 16


def test_the_page_of_faults_offers_every_fault_and_every_call(sandbox: SandboxHandle) -> None:
    text = sandbox.session.get(f"{sandbox.base_url}/console/faults", timeout=60).text

    assert set(re.findall(r'<option value="([a-z0-9_]+)">', text)) == set(FAULT_KINDS)
    assert set(re.findall(r"<option>(.*?)</option>", text)) == {*ENDPOINTS, *OPEN_ENDPOINTS, "callback"}


def test_departments_are_shown_as_a_tree_and_not_without_end(sandbox: SandboxHandle) -> None:
    rows = [{"id": number, "name": f"组{number}", "parentid": 3} for number in range(10, 260)]
    sandbox.control("POST", f"companies/{CORPID}/departments", rows)

    text = sandbox.session.get(f"{sandbox.base_url}/console/{CORPID}", timeout=60).text

    names = re.findall(r"<td>(\u3000*[^<>]+)</td><td>\d", text)
    assert names[:3] == ["\u3000销售部", "\u3000\u3000华东区", "\u3000\u3000\u3000组10"]
    assert len(names) == 199
    assert "共 254 个部门，显示 200 个。" in text


def shown(sandbox: SandboxHandle, path: str, pattern: str) -> tuple[list[str], str]:
    """Return what a page of the console lists, by a pattern, and the address of its link to more."""
    page = sandbox.session.get(f"{sandbox.base_url}/console/{path}", timeout=60)
    assert page.status_code == 200
    link = re.search(r'href="(\?[^"]*from=\d+)"', page.text)
    return re.findall(pattern, page.text), link[1].replace("&amp;", "&") if link else ""


def test_lists_are_shown_page_by_page(api: Api, sandbox: SandboxHandle) -> None:
    rows = [{"userid": f"u{number}", "name": f"员工 {number}", "department": [4]} for number in range(60)]
    sandbox.control("POST", f"companies/{CORPID}/members", rows)
    path, pattern = f"{CORPID}/members", r"<code>(\w+)</code>"
    first, more = shown(sandbox, f"{path}?q=员工", pattern)
    assert first == [f"u{number}" for number in range(50)]
    assert shown(sandbox, path + more, pattern) == ([f"u{number}" for number in range(50, 60)], "")

    token = api.token()
    for _ in range(104):
        api.raw("GET", "department/list", params={"access_token": token})
    pattern = r"GET /cgi-bin/(\w+)"
    first, more = shown(sandbox, "log", pattern)
    assert (first, more) == (["department"] * 100, "?from=100")
    assert shown(sandbox, f"log{more}", pattern) == (["department"] * 4 + ["gettoken"], "")
    for place in ("-1", "x", "9" * 18, "٣"):
        assert shown(sandbox, f"log?from={place}", "<h1>")[0] == ["<h1>"]
        assert shown(sandbox, f"{CORPID}/members?from={place}", "<h1>")[0] == ["<h1>"]


def test_the_log_shows_what_was_asked_for_and_is_missing(sandbox: SandboxHandle) -> None:
    def get(path: str) -> requests.Response:
        return sandbox.session.get(f"{sandbox.base_url}/{path}", timeout=60)

    assert "请求过但沙箱没有" not in get("console/log").text
    for _ in range(2):
        get("cgi-bin/kf/<b>")

    assert "请求过但沙箱没有" in get("console/log").text
    assert "<td>GET /cgi-bin/kf/&lt;b&gt;</td><td>2</td>" in get("console/log").text
    missing = ("console/wwnone", f"console/{CORPID}/apps/9", f"console/{CORPID}/apps/x")
    assert [get(path).status_code for path in missing] == [404] * 3
