"""Tickets for the JS-SDK, and the signature made with them."""

from __future__ import annotations

import hashlib
import secrets

from integrations.sandbox.api.call import APP, Call, Json, endpoint
from integrations.sandbox.errors import ApiError
from integrations.sandbox.limits import HOUR
from integrations.sandbox.world import Ticket, World


@endpoint("GET", "get_jsapi_ticket", APP)
def get_jsapi_ticket(call: Call) -> Json:
    """The company's ticket, for wx.config."""
    _count(call)
    return _ticket(call, None)


@endpoint("GET", "ticket/get", APP)
def ticket_get(call: Call) -> Json:
    """The app's ticket, for wx.agentConfig."""
    if call.query.get("type") != "agent_config":
        raise ApiError(91040)
    _count(call)
    return _ticket(call, call.own_app.agentid)


def signature(ticket: str, *, noncestr: str, timestamp: str, url: str) -> str:
    """Lower-case hex SHA-1 over the four values as they are; the url without its fragment."""
    text = f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url.partition('#')[0]}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def signed_with(world: World, corpid: str, agentid: int, given: str, **signed: str) -> str:
    """Which ticket a signature was made with: "config", "agent_config", or "" for none that is valid."""
    for kind, owner in (("config", None), ("agent_config", agentid)):
        ticket = world.js_tickets.get((corpid, owner))
        if ticket is not None and world.now() < ticket.expires_at and signature(ticket.value, **signed) == given:
            return kind
    return ""


def _count(call: Call) -> None:
    settings, corpid, agentid = call.world.settings, call.company.corpid, call.own_app.agentid
    limits = call.world.limits
    limits.check_special("tickets", corpid, seconds=HOUR, limit=settings.company_tickets_per_hour, now=call.now)
    limits.check_special("tickets", corpid, agentid, seconds=HOUR, limit=settings.app_tickets_per_hour, now=call.now)


def _ticket(call: Call, agentid: int | None) -> Json:
    key = (call.company.corpid, agentid)
    ticket = call.world.js_tickets.get(key)
    if ticket is None or call.now >= ticket.expires_at:
        expires_at = call.now + call.world.settings.token_seconds
        ticket = Ticket(secrets.token_urlsafe(64), *key, expires_at)
        call.world.js_tickets[key] = ticket
    return {"ticket": ticket.value, "expires_in": int(ticket.expires_at - call.now)}
