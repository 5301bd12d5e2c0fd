"""Who is behind a code: auth/getuserinfo, its older spelling, and auth/getuserdetail."""

from __future__ import annotations

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, endpoint
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state.directory import DISABLED, LEFT
from wecom_sandbox.state.world import App, Code, Company, Ticket


@endpoint("GET", "auth/getuserinfo", APP, CONTACTS, counted=False)
def auth_getuserinfo(call: Call) -> Json:
    code = _redeem(call)
    if not code.userid:
        return {"openid": code.openid}
    answer: Json = {"userid": code.userid}
    return answer | ({"user_ticket": code.user_ticket} if code.user_ticket else {})


@endpoint("GET", "user/getuserinfo", APP, CONTACTS, counted=False)
def user_getuserinfo(call: Call) -> Json:
    """The older path: same meaning, other letters."""
    code = _redeem(call)
    if not code.userid:
        return {"OpenId": code.openid, "DeviceId": ""}
    ticket: Json = {}
    if code.user_ticket:
        ticket = {"user_ticket": code.user_ticket, "expires_in": call.world.settings.user_ticket_seconds}
    return {"UserId": code.userid, "DeviceId": ""} | ticket


@endpoint("POST", "user/getuserdetail", APP)
@endpoint("POST", "auth/getuserdetail", APP)
def auth_getuserdetail(call: Call) -> Json:
    """What the member let the app see on the consent page; the member must be in the app's scope."""
    ticket = _user_ticket(call)
    member = call.company.directory.find(ticket.userid)
    if member is None or not call.company.receives(call.own_app, member):
        raise ApiError(60011)
    return {
        "userid": member.userid,
        "gender": member.gender,
        "avatar": member.avatar,
        "qr_code": f"https://open.work.weixin.qq.com/wwopen/userQRCode?vcode=sandbox-{member.folded}",
        "mobile": member.mobile,
        "email": member.email,
        "biz_mail": member.biz_mail,
        "address": member.address,
    }


def _redeem(call: Call) -> Code:
    """Use a code up. Raises ApiError 41008, 40029 or 50001; 50001 leaves the code unused.

    A code of somebody who was disabled or left since is no code any more: 40029.
    """
    value = call.query.get("code", "")
    if not value:
        raise ApiError(41008)
    code = call.world.codes.get(value)
    if (
        code is None
        or code.used
        or call.now >= code.expires_at
        or code.corpid != call.company.corpid
        or not _may_enter(call.company, code.userid)
    ):
        # Only valid codes are exempt from the frequency limits.
        path = call.request.path.removeprefix("/cgi-bin/")
        call.world.limits.check_call(corpid=call.company.corpid, ip=call.request.ip, api=path, now=call.now)
        raise ApiError(40029)
    if call.app is None or code.netloc not in domains(call.app):
        raise ApiError(50001)
    code.used = True
    return code


def _may_enter(company: Company, userid: str) -> bool:
    """Whether somebody still is who she was on the authorise page; "" is nobody of the company."""
    member = company.directory.find(userid)
    return not userid or (member is not None and member.status not in (DISABLED, LEFT))


def domains(app: App) -> set[str]:
    """Host (and port) to which this app's codes may go."""
    trusted = app.trusted_domain if app.domain_verified else ""
    return {domain.lower() for domain in (trusted, app.callback_domain) if domain}


def _user_ticket(call: Call) -> Ticket:
    value = call.text("user_ticket", missing=84015)
    ticket = call.world.user_tickets.get(value)
    if ticket is None or (ticket.corpid, ticket.agentid) != (call.company.corpid, call.own_app.agentid):
        raise ApiError(84015)
    if call.now >= ticket.expires_at:
        raise ApiError(84014)
    return ticket
