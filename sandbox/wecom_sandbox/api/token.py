"""gettoken: a token for the secret of one app, or of the directory-sync assistant (通讯录同步)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

from wecom_sandbox.api.call import Json, Request, open_endpoint, read_body
from wecom_sandbox.errors import ApiError
from wecom_sandbox.limits.limits import HOUR
from wecom_sandbox.state.world import Company, Token, World

# Of one app; above, the oldest is unknown (40014). Setting rotate_tokens gives a new one to every call.
TOKENS_KEPT = 100


@open_endpoint(("GET", "POST"), "gettoken")
def gettoken(world: World, request: Request, now: float) -> Json:
    """Not subject to the trusted IPs. Wrong secrets, too often, block the address for an hour (45009).

    The page (91039) has GET only; many public programs POST, with the two values in the query or as JSON.
    """
    corpid, secret = _credentials(request)
    world.limits.check_blocked("secrets", request.ip, now=now)
    if not corpid:
        raise ApiError(41002)
    if not secret:
        raise ApiError(41004)
    company = world.companies.get(corpid)
    if company is None:
        raise ApiError(40013)
    world.limits.check_call(corpid=corpid, ip=request.ip, api="gettoken", now=now)
    found, agentid = _owner(company, secret)
    if not found:
        most = world.settings.wrong_secrets_per_hour
        world.limits.count("secrets", request.ip, seconds=HOUR, limit=most, now=now)
        raise ApiError(40001)
    if agentid is not None and company.apps[agentid].disabled:
        raise ApiError(50003)
    token = _token(world, corpid, agentid, secret, now)
    left = int(token.expires_at - now) if world.settings.expires_in_counts_down else world.settings.token_seconds
    return {"access_token": token.value, "expires_in": left}


def _credentials(request: Request) -> tuple[str, str]:
    """corpid and corpsecret, from the query or, by POST, from the body. Raises ApiError for a body that is none."""
    given: Mapping[str, object] = request.query
    if request.method == "POST" and request.body.strip() and "corpid" not in given and "corpsecret" not in given:
        given, _ = read_body(request.body)
    corpid, secret = given.get("corpid") or "", given.get("corpsecret") or ""
    if not isinstance(corpid, str):
        raise ApiError(40013)
    if not isinstance(secret, str):
        raise ApiError(40001)
    return corpid, secret


def _owner(company: Company, secret: str) -> tuple[bool, int | None]:
    """Whose secret this is: (True, agentid), (True, None) for the sync assistant, (False, None) for nobody's."""
    wanted = secret.encode()
    for app in company.apps.values():
        if app.secret and hmac.compare_digest(app.secret.encode(), wanted):
            return True, app.agentid
    own = company.contacts_secret
    return bool(own) and hmac.compare_digest(own.encode(), wanted), None


def _token(world: World, corpid: str, agentid: int | None, secret: str, now: float) -> Token:
    """The same token while it is valid, as WeCom did when this was last documented; or a new one (`rotate_tokens`)."""
    mine = _tokens_of(world, corpid, agentid)
    for old in mine[: 1 - TOKENS_KEPT]:
        del world.tokens[old.value]
    for old in mine[1 - TOKENS_KEPT :]:
        if now >= old.expires_at + world.settings.token_seconds:
            # Long gone: from here on it is unknown (40014) instead of expired (42001).
            del world.tokens[old.value]
        elif old.secret == secret and now < old.expires_at and not world.settings.rotate_tokens:
            return old
    token = Token(secrets.token_urlsafe(96), corpid, agentid, now + world.settings.token_seconds, secret)
    world.tokens[token.value] = token
    return token


def _tokens_of(world: World, corpid: str, agentid: int | None) -> list[Token]:
    return [token for token in world.tokens.values() if token.corpid == corpid and token.agentid == agentid]


def invalidate(world: World, corpid: str, agentid: int | None, *, code: int = 40014) -> int:
    """Spoil all tokens of one app (None: of the sync assistant): 40014 unknown, 42001 expired. Returns how many."""
    tokens = _tokens_of(world, corpid, agentid)
    for token in tokens:
        if code == 42001:
            token.expires_at = min(token.expires_at, world.now())
        else:
            del world.tokens[token.value]
    return len(tokens)
