"""The app itself: agent/get, agent/set, its menu, and WeCom's own addresses."""

from __future__ import annotations

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, endpoint, read_int
from wecom_sandbox.api.media import make_media_check
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import App

_LOGO = "https://wework.qpic.cn/sandbox/logo/0"
# Addresses that RFC 5737 reserves for documentation.
CALLBACK_IPS = ["192.0.2.1", "192.0.2.0/28"]
API_IPS = ["198.51.100.1", "198.51.100.2"]


@endpoint("GET", "agent/get", APP)
def agent_get(call: Call) -> Json:
    app = check_own_agent(call, call.query.get("agentid"))
    scope = app.scope
    return {
        "agentid": app.agentid,
        "name": app.name,
        "square_logo_url": _LOGO,
        "description": app.description,
        "allow_userinfos": {"user": [{"userid": userid} for userid in scope.userids]},
        "allow_partys": {"partyid": scope.partyids},
        "allow_tags": {"tagid": scope.tagids},
        "close": int(app.disabled),
        "redirect_domain": app.trusted_domain,
        "report_location_flag": app.report_location_flag,
        "isreportenter": app.isreportenter,
        "home_url": app.home_url,
    }


@endpoint("POST", "agent/set", APP)
def agent_set(call: Call) -> Json:
    """Change only the fields that are sent."""
    app = call.own_app
    changes: dict[str, str | int] = {}
    for name, errcode in (("report_location_flag", 40059), ("isreportenter", 40058)):
        if name in call.document:
            changes[name] = call.flag(name, errcode)
    if "name" in call.document:
        changes["name"] = _read_sized_text(call, "name", 1, 32, 45022)
    if "description" in call.document:
        changes["description"] = _read_sized_text(call, "description", 4, 120, 45004)
    if call.text("logo_mediaid"):
        make_media_check(call)(call.text("logo_mediaid"), "image")
    domain = call.text("redirect_domain")
    if domain and (domain != app.trusted_domain or not app.domain_verified):
        raise ApiError(85005)
    if "home_url" in call.document:
        changes["home_url"] = call.text("home_url", missing=40094)
        if not str(changes["home_url"]).startswith(("http://", "https://")):
            raise ApiError(40094)
    check_own_agent(call, call.document.get("agentid"))
    for name, value in changes.items():
        setattr(app, name, value)
    return {}


def _read_sized_text(call: Call, name: str, least: int, most: int, errcode: int) -> str:
    value = call.text(name)
    if not least <= len(value) <= most:
        raise ApiError(errcode)
    return value


@endpoint("GET", "getcallbackip", APP, CONTACTS, empty=("ip_list",))
def getcallbackip(call: Call) -> Json:
    return {"ip_list": CALLBACK_IPS}


@endpoint("GET", "get_api_domain_ip", APP, CONTACTS, empty=("ip_list",))
def get_api_domain_ip(call: Call) -> Json:
    return {"ip_list": API_IPS}


def check_own_agent(call: Call, value: object) -> App:
    """Return the token's app if `value` names it. Raise ApiError 41011, 40056 or 301002."""
    if value is None or value == "":
        raise ApiError(41011)
    try:
        agentid = read_int(value, "agentid")
    except ApiError as error:
        raise ApiError(40056) from error
    if agentid != call.own_app.agentid:
        raise ApiError(301002)
    return call.own_app


@endpoint("POST", "menu/create", APP)
def menu_create(call: Call) -> Json:
    buttons = administration.check_menu(call.document)
    check_own_agent(call, call.query.get("agentid")).menu = {"button": buttons}
    return {}


@endpoint("GET", "menu/get", APP)
def menu_get(call: Call) -> Json:
    app = check_own_agent(call, call.query.get("agentid"))
    if app.menu is None:
        raise ApiError(46003)
    return dict(app.menu)
