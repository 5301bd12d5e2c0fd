"""From a request to an answer, in the order in which WeCom is taken to check.

Method and token presence, token validity, IP, API right, frequency, then the call itself: parameters, agentid,
visibility.
"""

from __future__ import annotations

from dataclasses import dataclass

from wecom_sandbox.api import load_endpoints
from wecom_sandbox.api.call import APP, CONTACTS, ENDPOINTS, OPEN_ENDPOINTS, Call, Endpoint, Request
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http.envelope import Reply, failure, success
from wecom_sandbox.state.world import App, Company, Token, World

load_endpoints()
# Of one that is only claimed: the log of calls keeps it.
_CORPID_MOST = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as the token tells: "" and None when it does not."""

    corpid: str = ""
    agentid: int | None = None


def endpoint_name(path: str) -> str | None:
    """The path without /cgi-bin/, or None when there is no such call."""
    name = path.removeprefix("/cgi-bin/")
    return name if name in ENDPOINTS or name in OPEN_ENDPOINTS else None


def caller(world: World, request: Request) -> Caller:
    token = world.tokens.get(request.query.get("access_token", ""))
    return Caller(token.corpid, token.agentid) if token else Caller(request.query.get("corpid", "")[:_CORPID_MOST])


def answer(world: World, name: str, request: Request) -> Reply:
    """Carry out a call. `name`: of `endpoint_name`."""
    now = world.now()
    empty: dict[str, object] = {}
    call: Call | None = None
    try:
        opened = OPEN_ENDPOINTS.get(name)
        if opened is not None:
            _check_method(opened.methods, request.method)
            _check_debug(world, request.query.get("corpid", ""), request, now)
            return _as_reply(opened.handler(world, request, now), "")
        endpoint = ENDPOINTS[name]
        empty = {field: [] for field in endpoint.empty}
        call = _admit(world, endpoint, request, now)
        return _as_reply(endpoint.handler(call), call.warning)
    except ApiError as error:
        fields, warning = {**empty, **error.fields}, call.warning if call is not None else ""
        return failure(error.code, error.text, ip=request.ip, now=now, fields=fields, warning=warning)


def _as_reply(result: dict[str, object] | Reply, warning: str) -> Reply:
    return result if isinstance(result, Reply) else success(result, warning=warning)


def _admit(world: World, endpoint: Endpoint, request: Request, now: float) -> Call:
    """The checks that all calls share."""
    _check_method(endpoint.methods, request.method)
    token = _check_token(world, request.query.get("access_token", ""), now)
    company = world.companies[token.corpid]
    app = None if token.agentid is None else company.apps[token.agentid]
    _check_ip(world, app, request.ip, now)
    if (CONTACTS if app is None else APP) not in endpoint.rights:
        raise ApiError(48002)
    _check_debug(world, token.corpid, request, now)
    if endpoint.counted:
        world.limits.check_call(corpid=token.corpid, ip=request.ip, api=endpoint.path, now=now)
    return Call(world, request, now, company, app)


def _check_method(expected: tuple[str, ...], actual: str) -> None:
    if actual not in expected:
        raise ApiError(40058 if expected == ("POST",) else 40063)


def _check_token(world: World, value: str, now: float) -> Token:
    if not value:
        raise ApiError(41001)
    token = world.tokens.get(value)
    if token is None or token.corpid not in world.companies:
        raise ApiError(40014)
    if now >= token.expires_at:
        raise ApiError(42001)
    _check_owner(world.companies[token.corpid], token)
    return token


def _check_owner(company: Company, token: Token) -> None:
    """A reset secret and a disabled app spoil a token that has time left."""
    if token.agentid is None:
        secret = company.contacts_secret
    else:
        app = company.apps.get(token.agentid)
        if app is None:
            raise ApiError(40014)
        if app.disabled:
            raise ApiError(50003)
        secret = app.secret
    if secret != token.secret:
        raise ApiError(40001)


def _check_ip(world: World, app: App | None, ip: str, now: float) -> None:
    if app is None or (app.trusted_ips is None and not world.settings.trusted_ips_required):
        return
    if ip not in (app.trusted_ips or ()) or now < app.ip_effective_at.get(ip, 0.0):
        raise ApiError(60020)


def _check_debug(world: World, corpid: str, request: Request, now: float) -> None:
    """debug=1 in an address has a limit of its own, for calls that are exempt from the basic frequency, too."""
    if request.query.get("debug") == "1" and corpid in world.companies:
        world.limits.check_debug(corpid, now=now)
