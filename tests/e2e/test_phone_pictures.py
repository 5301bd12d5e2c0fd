"""The preview of a message and the sandbox's phone, compared by pictures: cropping, joined lines, cuts."""

import io
import json

import pytest
import requests
from django.template.loader import render_to_string
from django.templatetags.static import static
from PIL import Image, ImageChops, ImageFilter, ImageStat
from playwright.sync_api import Browser, BrowserContext
from pytest_django.live_server_helper import LiveServer

from notifications.delivery.rendering.message_builder import Words, build_body
from notifications.delivery.rendering.preview import read_message
from notifications.models import Delivery, MessageForm
from notifications.sources import Figure
from tests.bi_pages import load_picture
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
# Two drawings of the same may differ in size by so many pixels, for fractions of a line's height, and after blurring,
# which forgives letters that stand half a pixel apart, by so much of full brightness on average.
PIXELS, SHARE = 3, 0.02
WIDTH = 364
STYLES = (
    "admin/css/base.css",
    "admin/css/forms.css",
    "guanwecom/tokens.css",
    "guanwecom/admin.css",
    "notifications/admin.css",
)
PAGE = "https://example.com/m/1"
FIGURES = (Figure("销售额", "118,853 元"), Figure("订单数", "168"), Figure("完成率", "99.0%"))
LINES = "华东 1,204\n华南 960\n华北 815"
MARKDOWN = '# 昨日\n\n共 **3** 个区域\n> 华东缺货\n> 华南到货\n\n<font color="info">已核对</font> `A-1`'
MESSAGES = {
    "text card": (MessageForm.TEXTCARD, Words("每日销售额 11月30日", LINES, PAGE)),
    "news with a cropped picture": (
        MessageForm.NEWS,
        Words("每日销售额 11月30日", LINES, PAGE, picture_url="http://localhost/p/picture.png"),
    ),
    "template card": (
        MessageForm.TEXT_NOTICE,
        Words("每日销售额 11月30日", "较前一天 ↑1.1%\n数据截至 11月30日", PAGE, FIGURES, task_id="t1"),
    ),
    "template card with a picture": (
        MessageForm.NEWS_NOTICE,
        Words(
            *("每日销售额 11月30日", f"较前一天 ↑1.1%\n{LINES}", PAGE, FIGURES, "http://localhost/p/picture.png", "t2")
        ),
    ),
    "markdown": (MessageForm.MARKDOWN, Words("每日销售额", MARKDOWN, PAGE)),
    "text": (MessageForm.TEXT, Words("每日销售额", LINES, PAGE)),
    "long text that is cut": (MessageForm.TEXTCARD, Words("每日销售额", "华东缺货三天，请补货。\n" * 40, PAGE)),
    "long text of a template card": (
        MessageForm.TEXT_NOTICE,
        Words("每日销售额" * 12, "华东缺货三天，请补货。" * 40, PAGE, FIGURES, task_id="t3"),
    ),
}  # fmt: skip


def make_picture() -> bytes:
    """Return a picture that is higher than WeCom shows, with a band of another colour on top and at the foot."""
    picture = Image.new("RGB", (400, 600), "#d0d7e2")
    for top, colour in ((0, "#b3261e"), (560, "#12703c")):
        picture.paste(colour, (0, top, 400, top + 40))
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


@pytest.fixture
def screen(browser: Browser) -> BrowserContext:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="light", locale="zh-CN")
    context.route("**/p/picture.png", lambda route: route.fulfill(body=make_picture(), content_type="image/png"))
    return context


def photograph_phone(screen: BrowserContext, sandbox: SandboxHandle, body: bytes) -> bytes:
    """Send the message and return its picture on the receiver's phone."""
    base, session = sandbox.base_url, sandbox.session
    token = session.get(f"{base}/cgi-bin/gettoken", params={"corpid": CORPID, "corpsecret": SECRET}).json()
    sent: requests.Response = session.post(
        f"{base}/cgi-bin/message/send", params={"access_token": token["access_token"]}, data=body
    )
    assert sent.json()["errcode"] == 0, sent.text
    page = screen.new_page()
    page.goto(f"{base}/phone?corpid={CORPID}&userid=lilei&next=/phone/chat/{AGENTID}")
    page.set_viewport_size(
        {"width": 388, "height": 1600}
    )  # without the frame around a phone, which is seen from 480 on
    drawn = page.locator(".line > :is(.card, .bubble)").last
    return drawn.screenshot(animations="disabled")


def photograph_preview(screen: BrowserContext, base: str, html: str) -> bytes:
    page = screen.new_page()
    page.goto(f"{base}/healthz/")
    links = "".join(f'<link rel="stylesheet" href="{base}{static(style)}">' for style in STYLES)
    page.set_content(
        f'<html lang="zh-hans" data-theme="light">{links}<body><div id="content">{html}</div></body></html>',
        wait_until="networkidle",
    )
    page.locator(".phone").evaluate(f"one => (one.style.width = '{WIDTH}px', one.style.boxSizing = 'content-box')")
    return page.locator(".phone-message").screenshot(animations="disabled")


@pytest.mark.parametrize("name", MESSAGES)
def test_the_preview_is_what_the_phone_shows(
    screen: BrowserContext, live_server: LiveServer, running_sandbox: SandboxHandle, name: str
) -> None:
    running_sandbox.load({"companies": [company()]})
    form, words = MESSAGES[name]
    body = build_body(form, words, agentid=AGENTID, userids=["lilei"])
    delivery = Delivery(body=body, text=words.text, title=words.title, message_form=form)
    base = live_server.url.replace("127.0.0.1", "localhost")
    phone = read_message(delivery, picture=f"{base}/p/picture.png" if words.picture_url else "")
    html = render_to_string("admin/notifications/_phone.html", {"preview": phone})

    ours = load_picture(photograph_preview(screen, base, html))
    theirs = load_picture(photograph_phone(screen, running_sandbox, json.dumps(json.loads(body)).encode()))

    size = [max(one, other) for one, other in zip(ours.size, theirs.size, strict=True)]
    assert [abs(one - other) <= PIXELS for one, other in zip(ours.size, theirs.size, strict=True)] == [True, True], (
        ours.size,
        theirs.size,
    )
    blurred = []
    for drawn in (ours, theirs):
        sheet = Image.new("L", (size[0], size[1]), 255)
        sheet.paste(drawn.convert("L"), (0, 0))
        blurred.append(sheet.filter(ImageFilter.GaussianBlur(3)))
    difference = ImageStat.Stat(ImageChops.difference(*blurred)).mean[0] / 255
    assert difference <= SHARE, difference
