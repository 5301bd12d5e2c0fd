"""Tickets for the JS-SDK, and the signature made with them."""

from __future__ import annotations

import hashlib
import secrets

from wecom_sandbox.api.call import APP, Call, Json, endpoint
from wecom_sandbox.errors import ApiError
from wecom_sandbox.limits.limits import HOUR
from wecom_sandbox.state.world import Ticket, World

CONFIG, AGENT_CONFIG = "config", "agent_config"


@endpoint("GET", "get_jsapi_ticket", APP)
def get_jsapi_ticket(call: Call) -> Json:
    """The ticket for wx.config: called the company's, yet each app has its own, and no other app's takes its place."""
    _count(call)
    return _ticket(call, CONFIG)


@endpoint("GET", "ticket/get", APP)
def ticket_get(call: Call) -> Json:
    """The app's ticket, for wx.agentConfig."""
    if call.query.get("type") != AGENT_CONFIG:
        raise ApiError(91040)
    _count(call)
    return _ticket(call, AGENT_CONFIG)


def signature(ticket: str, *, noncestr: str, timestamp: str, url: str) -> str:
    """Lower-case hex SHA-1 over the four values as they are; the url without its fragment."""
    text = f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url.partition('#')[0]}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def signed_with(world: World, corpid: str, agentid: int, given: str, **signed: str) -> str:
    """Which of the app's tickets a signature was made with: CONFIG, AGENT_CONFIG, or "" for none that is valid."""
    for kind in (CONFIG, AGENT_CONFIG):
        ticket = world.js_tickets.get((corpid, agentid, kind))
        if ticket is not None and world.now() < ticket.expires_at and signature(ticket.value, **signed) == given:
            return kind
    return ""


def _count(call: Call) -> None:
    settings, corpid, agentid = call.world.settings, call.company.corpid, call.own_app.agentid
    limits = call.world.limits
    limits.check_special("tickets", corpid, seconds=HOUR, limit=settings.company_tickets_per_hour, now=call.now)
    limits.check_special("tickets", corpid, agentid, seconds=HOUR, limit=settings.app_tickets_per_hour, now=call.now)


def _ticket(call: Call, kind: str) -> Json:
    corpid, agentid = call.company.corpid, call.own_app.agentid
    ticket = call.world.js_tickets.get((corpid, agentid, kind))
    if ticket is None or call.now >= ticket.expires_at:
        expires_at = call.now + call.world.settings.token_seconds
        ticket = Ticket(secrets.token_urlsafe(64), corpid, agentid, expires_at, kind=kind)
        call.world.js_tickets[corpid, agentid, kind] = ticket
    return {"ticket": ticket.value, "expires_in": int(ticket.expires_at - call.now)}
