"""Cases of the application itself, its tickets and its files."""

from __future__ import annotations

from integrations.clients.wecom.client import Agent, AgentChanges, MenuEntry
from integrations.clients.wecom.oauth import sign
from tests.integrations.against_sandbox.cases import case
from tests.integrations.against_sandbox.place import Place
from tests.sandbox_process import AGENTID, CORPID

AGENT = Agent(
    agentid=AGENTID,
    name="观远BI",
    allowed_department_ids=(2,),
    redirect_domain="localhost:3001",
    home_url="http://localhost:3001/",
)
PAGE_URL = "https://portal.example.com/m"
MENU = [MenuEntry("首页", PAGE_URL), MenuEntry("日报", PAGE_URL)]
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


@case("agent/set")
def agent_set(at: Place) -> None:
    at.app.agent_set(
        AgentChanges(
            name="门户",
            description="内部门户",
            redirect_domain="localhost:3001",
            home_url="https://localhost:3001/m",
        )
    )

    shown = at.app.agent_get()
    assert (shown.name, shown.description, shown.home_url) == ("门户", "内部门户", "https://localhost:3001/m")


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
    page = {"type": "view", "name": "首页", "url": "https://portal.example.com/m"}
    assert at.app.menu_get() == {"button": [page, {**page, "name": "日报"}]}


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


@case("get_jsapi_ticket")
def jsapi_ticket(at: Place) -> None:
    assert made_with(at, at.app.jsapi_ticket()) == "config"
    assert at.app.jsapi_ticket() == at.app.jsapi_ticket()
    assert at.errcodes("get_jsapi_ticket") == [0]


@case("media/upload")
def media_upload(at: Place) -> None:
    media_id = at.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv", media_type="text/csv")
    assert at.fetch(media_id) == (b"1,2,3\n", "text/csv")


@case("webhook/upload_media")
def webhook_upload_media(at: Place) -> None:
    media_id = at.robot.webhook_upload_media(b"1,2,3\n", file_name="日报.csv", media_type="text/csv")
    assert at.fetch(media_id) == (b"1,2,3\n", "text/csv")
