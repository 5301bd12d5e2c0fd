"""Tokens (gettoken), sign-in codes and JS-SDK tickets, for one app or the directory-sync assistant (通讯录同步)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, Request, endpoint, open_endpoint, read_body
from wecom_sandbox.errors import ApiError
from wecom_sandbox.limits.limits import HOUR
from wecom_sandbox.state.directory import DISABLED, LEFT
from wecom_sandbox.state.world import App, Code, Company, Ticket, Token, World

# Most tokens of an app; above it the oldest becomes unknown (40014). With rotate_tokens each call makes one.
TOKENS_MOST = 100


@open_endpoint(("GET", "POST"), "gettoken")
def gettoken(world: World, request: Request, now: float) -> Json:
    """Return a token; trusted IPs do not matter. Too many wrong secrets block the address for an hour (45009). WeCom's
    page 91039 has GET only; many public programs POST, with the two values in the query or as JSON."""
    corpid, secret = _read_credentials(request)
    world.limits.check_blocked("secrets", request.ip, now=now)
    if not corpid:
        raise ApiError(41002)
    if not secret:
        raise ApiError(41004)
    company = world.companies.get(corpid)
    if company is None:
        raise ApiError(40013)
    world.limits.check_call(corpid=corpid, ip=request.ip, api="gettoken", now=now)
    found, agentid = _find_secret_owner(company, secret)
    if not found:
        most = world.settings.wrong_secrets_per_hour
        world.limits.count("secrets", request.ip, seconds=HOUR, limit=most, now=now)
        raise ApiError(40001)
    if agentid is not None and company.apps[agentid].disabled:
        raise ApiError(50003)
    token = _find_or_make_token(world, corpid, agentid, secret, now)
    left = int(token.expires_at - now) if world.settings.expires_in_counts_down else world.settings.token_seconds
    return {"access_token": token.value, "expires_in": left}


def _read_credentials(request: Request) -> tuple[str, str]:
    """Return corpid and corpsecret from the query or, for POST, from the body. Raise ApiError for a malformed body."""
    given: Mapping[str, object] = request.query
    if request.method == "POST" and request.body.strip() and "corpid" not in given and "corpsecret" not in given:
        given, _ = read_body(request.body)
    corpid, secret = given.get("corpid") or "", given.get("corpsecret") or ""
    if not isinstance(corpid, str):
        raise ApiError(40013)
    if not isinstance(secret, str):
        raise ApiError(40001)
    return corpid, secret


def _find_secret_owner(company: Company, secret: str) -> tuple[bool, int | None]:
    """Return the secret's owner: (True, agentid), (True, None) for the sync assistant, (False, None) for none."""
    wanted = secret.encode()
    for app in company.apps.values():
        if app.secret and hmac.compare_digest(app.secret.encode(), wanted):
            return True, app.agentid
    contacts = company.contacts_secret
    return bool(contacts) and hmac.compare_digest(contacts.encode(), wanted), None


def _find_or_make_token(world: World, corpid: str, agentid: int | None, secret: str, now: float) -> Token:
    """Return the same token while it is valid, as WeCom last documented it; or a new one (`rotate_tokens`)."""
    tokens = _list_tokens(world, corpid, agentid)
    # One place is left for a new token.
    for old in tokens[: 1 - TOKENS_MOST]:
        del world.tokens[old.value]
    for old in tokens[1 - TOKENS_MOST :]:
        if now >= old.expires_at + world.settings.token_seconds:
            # Expired long ago: from here on it is unknown (40014) instead of expired (42001).
            del world.tokens[old.value]
        elif old.secret == secret and now < old.expires_at and not world.settings.rotate_tokens:
            return old
    token = Token(secrets.token_urlsafe(96), corpid, agentid, now + world.settings.token_seconds, secret)
    world.tokens[token.value] = token
    return token


def _list_tokens(world: World, corpid: str, agentid: int | None) -> list[Token]:
    return [token for token in world.tokens.values() if token.corpid == corpid and token.agentid == agentid]


def invalidate_tokens(world: World, corpid: str, agentid: int | None, *, code: int = 40014) -> int:
    """Invalidate all tokens of one app (None: the sync assistant): 40014 unknown, 42001 expired. Return how many."""
    tokens = _list_tokens(world, corpid, agentid)
    for token in tokens:
        if code == 42001:
            token.expires_at = min(token.expires_at, world.now())
        else:
            del world.tokens[token.value]
    return len(tokens)


@endpoint("GET", "auth/getuserinfo", APP, CONTACTS, counted=False)
def auth_getuserinfo(call: Call) -> Json:
    code = _redeem_code(call)
    if not code.userid:
        return {"openid": code.openid}
    answer: Json = {"userid": code.userid}
    return answer | ({"user_ticket": code.user_ticket} if code.user_ticket else {})


@endpoint("POST", "auth/getuserdetail", APP)
def auth_getuserdetail(call: Call) -> Json:
    """Return what the member let the app see on the consent page; the member must be in the app's scope."""
    ticket = _find_user_ticket(call)
    member = call.company.directory.find(ticket.userid)
    if member is None or not call.company.app_reaches(call.own_app, member):
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


def _redeem_code(call: Call) -> Code:
    """Use a code up. Raise ApiError 41008, 40029 or 50001; 50001 leaves the code unused. A code of somebody who was
    disabled or has left since is invalid: 40029."""
    value = call.query.get("code", "")
    if not value:
        raise ApiError(41008)
    code = call.world.codes.get(value)
    if (
        code is None
        or code.used
        or call.now >= code.expires_at
        or code.corpid != call.company.corpid
        or not _may_sign_in(call.company, code.userid)
    ):
        # Only valid codes are exempt from the frequency limits.
        path = call.request.path.removeprefix("/cgi-bin/")
        call.world.limits.check_call(corpid=call.company.corpid, ip=call.request.ip, api=path, now=call.now)
        raise ApiError(40029)
    if call.app is None or code.netloc not in find_sign_in_hosts(call.app):
        raise ApiError(50001)
    code.used = True
    return code


def _may_sign_in(company: Company, userid: str) -> bool:
    """Return whether the person of a code may still sign in; "" stands for somebody outside the company."""
    member = company.directory.find(userid)
    return not userid or (member is not None and member.status not in (DISABLED, LEFT))


def find_sign_in_hosts(app: App) -> set[str]:
    """Return the hosts (with ports) to which this app's codes may go."""
    trusted = app.trusted_domain if app.domain_verified else ""
    return {domain.lower() for domain in (trusted, app.callback_domain) if domain}


def _find_user_ticket(call: Call) -> Ticket:
    value = call.text("user_ticket", missing=84015)
    ticket = call.world.user_tickets.get(value)
    if ticket is None or (ticket.corpid, ticket.agentid) != (call.company.corpid, call.own_app.agentid):
        raise ApiError(84015)
    if call.now >= ticket.expires_at:
        raise ApiError(84014)
    return ticket


CONFIG, AGENT_CONFIG = "config", "agent_config"


@endpoint("GET", "get_jsapi_ticket", APP)
def get_jsapi_ticket(call: Call) -> Json:
    """Return the ticket for wx.config. WeCom calls it the company's, yet each app has its own."""
    _count_ticket_call(call)
    return _make_ticket_answer(call, CONFIG)


@endpoint("GET", "ticket/get", APP)
def ticket_get(call: Call) -> Json:
    """Return the app's ticket for wx.agentConfig."""
    if call.query.get("type") != AGENT_CONFIG:
        raise ApiError(91040)
    _count_ticket_call(call)
    return _make_ticket_answer(call, AGENT_CONFIG)


def make_signature(ticket: str, *, noncestr: str, timestamp: str, url: str) -> str:
    """Return the lower-case hex SHA-1 over the four values as they are, the url without its fragment."""
    text = f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url.partition('#')[0]}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def find_signing_ticket(world: World, corpid: str, agentid: int, signature: str, **signed: str) -> str:
    """Return the kind of the app's valid ticket that made `signature` over `signed`: CONFIG, AGENT_CONFIG or ""."""
    for kind in (CONFIG, AGENT_CONFIG):
        ticket = world.js_tickets.get((corpid, agentid, kind))
        if ticket is None or world.now() >= ticket.expires_at:
            continue
        if make_signature(ticket.value, **signed) == signature:
            return kind
    return ""


def _count_ticket_call(call: Call) -> None:
    settings, corpid, agentid = call.world.settings, call.company.corpid, call.own_app.agentid
    limits = call.world.limits
    limits.check_special("tickets", corpid, seconds=HOUR, limit=settings.company_tickets_per_hour, now=call.now)
    limits.check_special("tickets", corpid, agentid, seconds=HOUR, limit=settings.app_tickets_per_hour, now=call.now)


def _make_ticket_answer(call: Call, kind: str) -> Json:
    corpid, agentid = call.company.corpid, call.own_app.agentid
    ticket = call.world.js_tickets.get((corpid, agentid, kind))
    if ticket is None or call.now >= ticket.expires_at:
        expires_at = call.now + call.world.settings.token_seconds
        ticket = Ticket(secrets.token_urlsafe(64), corpid, agentid, expires_at, kind=kind)
        call.world.js_tickets[corpid, agentid, kind] = ticket
    return {"ticket": ticket.value, "expires_in": int(ticket.expires_at - call.now)}
