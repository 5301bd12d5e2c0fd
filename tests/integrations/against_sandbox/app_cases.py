"""Cases of the application itself, its tickets and its files."""

from __future__ import annotations

import requests

from integrations.clients.wecom.api.agent import Agent, AgentChanges
from integrations.clients.wecom.api.media import MediaFile
from integrations.clients.wecom.messages.menus import Menu, MenuButton
from integrations.clients.wecom.oauth import sign
from tests.integrations.against_sandbox.cases import case
from tests.integrations.against_sandbox.place import AMR, PNG, Place
from tests.sandbox_process import AGENTID, CORPID

LOGO = "https://wework.qpic.cn/sandbox/logo/0"
AGENT = Agent(
    agentid=AGENTID,
    name="观远BI",
    square_logo_url=LOGO,
    allowed_department_ids=(2,),
    redirect_domain="localhost:3001",
    home_url="http://localhost:3001/",
)
MENU = Menu(
    [
        MenuButton("首页", "view", url="https://portal.example.com/m"),
        MenuButton(
            "更多",
            children=[
                MenuButton("帮助", "click", key="HELP"),
                MenuButton("小程序", "view_miniprogram", appid="wx0000000000000000", pagepath="pages/index"),
                MenuButton("扫码", "scancode_waitmsg", key="SCAN"),
            ],
        ),
    ]
)
PAGE = "http://localhost:3001/home?from=wecom#/top"


@case("gettoken")
def renew_token(at: Place) -> None:
    at.app.renew_token()
    at.app.agent_get()
    assert at.errcodes("gettoken") == [0]
    at.app.renew_token()
    assert at.errcodes("gettoken") == [0, 0]


@case("agent/get")
def agent_get(at: Place) -> None:
    assert at.app.agent_get() == AGENT


@case("agent/list")
def agent_list(at: Place) -> None:
    assert at.app.agent_list() == (Agent(AGENTID, "观远BI", square_logo_url=LOGO),)


@case("agent/set")
def agent_set(at: Place) -> None:
    logo = at.app.media_upload(PNG, kind="image", file_name="标志.png")
    at.app.agent_set(
        AgentChanges(
            name="门户",
            description="内部门户",
            redirect_domain="localhost:3001",
            home_url="https://localhost:3001/m",
            logo_mediaid=logo.media_id,
            reports_location=True,
            reports_enter=True,
        )
    )
    at.app.agent_set(AgentChanges(reports_location=False))

    shown = at.app.agent_get()
    assert (shown.name, shown.description, shown.home_url) == ("门户", "内部门户", "https://localhost:3001/m")
    assert (shown.reports_enter, shown.reports_location) == (True, False)


@case("menu/create")
def menu_create(at: Place) -> None:
    at.app.menu_create(MENU)

    press = f"companies/{CORPID}/members/lilei/menu"
    assert at.sandbox.control("POST", press, {"agentid": AGENTID, "path": [0]}) == {
        "url": "https://portal.example.com/m"
    }


@case("menu/get")
def menu_get(at: Place) -> None:
    at.app.menu_create(MENU)
    assert at.app.menu_get() == MENU.fields()


@case("menu/delete")
def menu_delete(at: Place) -> None:
    at.app.menu_create(MENU)
    at.app.menu_delete()
    apps = at.sandbox.control("GET", f"companies/{CORPID}")["apps"]
    assert [app["menu"] for app in apps if app["agentid"] == AGENTID] == [None]


@case("getcallbackip")
def getcallbackip(at: Place) -> None:
    assert at.app.getcallbackip() == ("192.0.2.1", "192.0.2.0/28")


@case("get_api_domain_ip")
def get_api_domain_ip(at: Place) -> None:
    assert at.contacts.get_api_domain_ip() == ("198.51.100.1", "198.51.100.2")


def made_with(at: Place, ticket: str) -> str:
    """Which ticket WeCom takes a signature of ours to be made with."""
    signed = sign(ticket=ticket, nonce="Wm3WZYTPz0wzccnW", timestamp=1764000004, url=PAGE)
    values = {"signature": signed.signature, "noncestr": signed.nonce, "timestamp": str(signed.timestamp), "url": PAGE}
    path = f"companies/{CORPID}/apps/{AGENTID}/signature"
    return str(at.sandbox.control("POST", path, values)["ticket"])


@case("get_jsapi_ticket")
def get_jsapi_ticket(at: Place) -> None:
    ticket = at.app.get_jsapi_ticket()
    assert ticket.expires_in == 7200
    assert made_with(at, ticket.value) == "config"


@case("ticket/get")
def ticket_get(at: Place) -> None:
    ticket = at.app.ticket_get()
    assert ticket.expires_in == 7200
    assert made_with(at, ticket.value) == "agent_config"


@case("get_jsapi_ticket")
def jsapi_ticket(at: Place) -> None:
    assert made_with(at, at.app.jsapi_ticket()) == "config"
    assert at.app.jsapi_ticket() == at.app.jsapi_ticket()
    assert at.errcodes("get_jsapi_ticket") == [0]


@case("ticket/get")
def agent_ticket(at: Place) -> None:
    assert made_with(at, at.app.agent_ticket()) == "agent_config"
    assert at.app.agent_ticket() != at.app.jsapi_ticket()
    assert at.errcodes("ticket/get") == [0]


@case("media/upload")
def media_upload(at: Place) -> None:
    before = int(at.now())
    media = at.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv", media_type="text/csv")
    assert media.created_at is not None
    assert before <= media.created_at <= at.now()
    assert at.app.media_get(media.media_id).content == b"1,2,3\n"


@case("media/uploadimg")
def media_uploadimg(at: Place) -> None:
    picture = requests.get(at.app.media_uploadimg(PNG, file_name="图.png"), timeout=60)
    assert (picture.status_code, picture.content) == (200, PNG)


@case("media/get")
def media_get(at: Place) -> None:
    media = at.app.media_upload(b'{"a":1}', kind="file", file_name='营收 "Q3" 100%;.json', media_type="text/json")
    # The client takes quotes out: a name stands between quotes at the wire.
    assert at.whole.media_get(media.media_id) == MediaFile(b'{"a":1}', "text/json", "营收 _Q3_ 100%;.json")


@case("media/get/jssdk")
def media_get_jssdk(at: Place) -> None:
    media = at.app.media_upload(AMR, kind="voice", file_name="录音.amr", media_type="audio/amr")
    assert at.app.media_get_jssdk(media.media_id) == MediaFile(AMR, "audio/amr", "录音.amr")


@case("webhook/upload_media")
def webhook_upload_media(at: Place) -> None:
    media = at.robot.webhook_upload_media(b"1,2,3\n", kind="file", file_name="日报.csv", media_type="text/csv")
    assert at.app.media_get(media.media_id) == MediaFile(b"1,2,3\n", "text/csv", "日报.csv")
