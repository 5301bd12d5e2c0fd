"""The phone's drawing of each kind of message, in which hostile content can do nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.sandbox.conftest import Api, hold_phone
from tests.sandbox.direct import AMR, MP4, PNG
from tests.sandbox.test_messages import BUTTON, MULTIPLE, NEWS_NOTICE, OPTIONS, TEXT_NOTICE, VOTE
from tests.sandbox.test_other_calls import push, upload
from tests.sandbox.test_phone import get, line
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle


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
