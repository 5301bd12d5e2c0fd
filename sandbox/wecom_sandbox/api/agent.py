"""The app itself: agent/get, agent/list, agent/set, and WeCom's own addresses."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, as_int, endpoint, texts
from wecom_sandbox.api.contacts import query_int, sees
from wecom_sandbox.api.media import media_check
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import content
from wecom_sandbox.messages.inbox import china_day
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import ACTIVE, NOT_ACTIVATED, Member
from wecom_sandbox.state.world import App

_LOGO = "https://wework.qpic.cn/sandbox/logo/0"
# Addresses of RFC 5737: nobody's.
CALLBACK_IPS = ["192.0.2.1", "192.0.2.0/28"]
API_IPS = ["198.51.100.1", "198.51.100.2"]


@endpoint("GET", "agent/get", APP)
def agent_get(call: Call) -> Json:
    app = own_agent(call, call.query.get("agentid"))
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


@endpoint("GET", "agent/list", APP, empty=("agentlist",))
def agent_list(call: Call) -> Json:
    app = call.own_app
    return {"agentlist": [{"agentid": app.agentid, "name": app.name, "square_logo_url": _LOGO}]}


@endpoint("POST", "agent/set", APP)
def agent_set(call: Call) -> Json:
    """Only the fields that are sent change."""
    app = call.own_app
    changes: dict[str, str | int] = {}
    for name, wrong in (("report_location_flag", 40059), ("isreportenter", 40058)):
        if name in call.document:
            changes[name] = call.flag(name, wrong)
    if "name" in call.document:
        changes["name"] = _sized(call, "name", 1, 32, 45022)
    if "description" in call.document:
        changes["description"] = _sized(call, "description", 4, 120, 45004)
    if call.text("logo_mediaid"):
        media_check(call)(call.text("logo_mediaid"), "image")
    domain = call.text("redirect_domain")
    if domain and (domain != app.trusted_domain or not app.domain_verified):
        raise ApiError(85005)
    if "home_url" in call.document:
        changes["home_url"] = call.text("home_url", missing=40094)
        if not str(changes["home_url"]).startswith(("http://", "https://")):
            raise ApiError(40094)
    own_agent(call, call.document.get("agentid"))
    for name, value in changes.items():
        setattr(app, name, value)
    return {}


def _sized(call: Call, name: str, least: int, most: int, wrong: int) -> str:
    value = call.text(name)
    if not least <= len(value) <= most:
        raise ApiError(wrong)
    return value


@endpoint("GET", "getcallbackip", APP, CONTACTS, empty=("ip_list",))
def getcallbackip(call: Call) -> Json:
    return {"ip_list": CALLBACK_IPS}


@endpoint("GET", "get_api_domain_ip", APP, CONTACTS, empty=("ip_list",))
def get_api_domain_ip(call: Call) -> Json:
    return {"ip_list": API_IPS}


def own_agent(call: Call, value: object) -> App:
    """The token's app, if `value` names it. Raises ApiError 41011, 40056 or 301002."""
    if value is None or value == "":
        raise ApiError(41011)
    try:
        agentid = as_int(value, "agentid")
    except ApiError as error:
        raise ApiError(40056) from error
    if agentid != call.own_app.agentid:
        raise ApiError(301002)
    return call.own_app


@endpoint("POST", "menu/create", APP)
def menu_create(call: Call) -> Json:
    buttons = administration.buttons_of(call.document)
    own_agent(call, call.query.get("agentid")).menu = {"button": buttons}
    return {}


@endpoint("GET", "menu/get", APP)
def menu_get(call: Call) -> Json:
    app = own_agent(call, call.query.get("agentid"))
    if app.menu is None:
        raise ApiError(46003)
    return dict(app.menu)


@endpoint("GET", "menu/delete", APP)
def menu_delete(call: Call) -> Json:
    own_agent(call, call.query.get("agentid")).menu = None
    return {}


_DELETED_MOST = 200
_STATISTICS_DAYS = 30


@endpoint("POST", "user/batchdelete", CONTACTS)
def user_batchdelete(call: Call) -> Json:
    """All or none: one unknown id refuses the whole list (40031). Page 90199."""
    userids = texts(call.document.get("useridlist"), "useridlist", most=_DELETED_MOST, too_many=40032)
    if not userids:
        raise ApiError(40031)
    members = {member.folded: member for userid in userids if (member := call.company.directory.find(userid))}
    if not all(call.company.has_member(userid) for userid in userids):
        raise ApiError(40031)
    administration.remove_members(call.world, call.company, list(members), tell_contacts=False)
    return {"errmsg": "deleted"}


@endpoint("POST", "user/convert_to_openid", APP, CONTACTS)
def user_convert_to_openid(call: Call) -> Json:
    """The member's openid of WeChat; 43004 for one who has not entered yet. Page 90202."""
    member = _visible(call, call.text("userid", missing=41009))
    if member.status == NOT_ACTIVATED:
        raise ApiError(43004)
    if not member.openid:
        member.openid = f"o{secrets.token_hex(13)}0"
    return {"openid": member.openid}


@endpoint("POST", "user/convert_to_userid", APP, CONTACTS)
def user_convert_to_userid(call: Call) -> Json:
    """The other way round; 40073 for an openid that was never given."""
    openid = call.text("openid", missing=40063)
    for member in call.company.directory.members.values():
        if member.openid == openid:
            return {"userid": _visible(call, member.userid).userid}
    raise ApiError(40073)


@endpoint("GET", "user/authsucc", CONTACTS)
def user_authsucc(call: Call) -> Json:
    """The company's own check at the first sign-in was passed: the member enters. Page 90203."""
    member = _visible(call, call.query.get("userid", ""))
    if member.status == NOT_ACTIVATED:
        row = {"userid": member.userid, "status": ACTIVE}
        administration.put_members(call.world, call.company, [row], tell_contacts=False)
    return {}


@endpoint("GET", "corp/get_join_qrcode", CONTACTS)
def corp_get_join_qrcode(call: Call) -> Json:
    """`size_type` 1 to 4: the picture's size. Page 91714."""
    size = query_int(call, "size_type", 40058) if call.query.get("size_type") else 1
    if size not in (1, 2, 3, 4):
        raise content.invalid("size_type")
    url = f"https://work.weixin.qq.com/wework_admin/genqrcode?action=join&vcode=sandbox-{call.company.corpid}"
    return {"join_qrcode": f"{url}&qr_size={size}"}


@endpoint("POST", "user/get_active_stat", CONTACTS)
def user_get_active_stat(call: Call) -> Json:
    """Members who are active: the sandbox has no days apart. `date`: YYYY-MM-DD, of the last 30 days. Page 92714."""
    try:
        day = datetime.strptime(call.text("date", missing=40058), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise content.invalid("date") from error
    if not 0 <= china_day(call.now) - int(day.timestamp()) // 86_400 <= _STATISTICS_DAYS:
        raise content.invalid("date")
    return {"active_cnt": sum(one.status == ACTIVE for one in call.company.directory.members.values())}


def _visible(call: Call, userid: str) -> Member:
    """Raises ApiError 41009, 60111 or 60011."""
    if not userid:
        raise ApiError(41009)
    member = call.company.directory.find(userid)
    if member is None:
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    if not sees(call, member):
        raise ApiError(60011)
    return member
