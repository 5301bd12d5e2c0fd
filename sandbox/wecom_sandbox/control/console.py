"""Saving an app in the console, with the rules of WeCom's own: slower and stricter than the rest of the control."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from wecom_sandbox.callbacks.courier import COURIER
from wecom_sandbox.control import schemas
from wecom_sandbox.control.routes import app_of, as_object, company_of, route
from wecom_sandbox.http import typed
from wecom_sandbox.pages.browser import language
from wecom_sandbox.pages.drawing import href
from wecom_sandbox.pages.translation import Translate, translations
from wecom_sandbox.state import administration
from wecom_sandbox.state.events import Callback
from wecom_sandbox.state.world import App, Company, World

_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")
_FIELDS = (
    "name",
    "description",
    "home_url",
    "trusted_domain",
    "callback_domain",
    "trusted_ips",
    "scope",
    "callback",
    "disabled",
    "isreportenter",
)


@route("PATCH", "companies/{corpid}/apps/{agentid}/console", body=schemas.of(App, only=_FIELDS, required=()))
async def save_in_console(request: web.Request, world: World, document: Any) -> object:
    """The given fields, as WeCom's console saves them: a domain must be verified anew, an address takes a minute."""
    company, app = company_of(request, world), app_of(request, world)
    values = as_object(document, *_FIELDS)
    await _check(request, company, app, values)
    old_domain, old_ips = app.trusted_domain, dict.fromkeys(app.trusted_ips or ())
    effective = app.ip_effective_at.copy()
    administration.put_apps(world, company, [{**values, "agentid": app.agentid}])
    if app.trusted_domain != old_domain:
        app.domain_verified = False
    now = world.now()
    new_ips = {ip: now + world.settings.trusted_ip_delay_seconds for ip in app.trusted_ips or () if ip not in old_ips}
    app.ip_effective_at = effective | new_ips
    return administration.app_as_json(app)


async def _check(request: web.Request, company: Company, app: App, values: dict[str, Any]) -> None:
    """Raises ValueError in the reader's language: a person reads it beside the button."""
    _ = translations(language(request)).gettext
    for name in ("trusted_domain", "callback_domain"):
        if values.get(name):
            _check_domain(values[name], _)
    typed.check_fields(App, values, path="app")
    if values.get("home_url") and not href(values["home_url"]):
        raise ValueError(_("The home page must begin with http:// or https://."))
    if "callback" in values:
        await _check_callback(request, company.corpid, values["callback"], _)
    if values.get("trusted_ips") is not None:
        _check_ips(app, values, _)


def _check_domain(domain: object, _: Translate) -> None:
    """Host, or host:port: no scheme, no path, no "_", no IP address. Raises ValueError."""
    text = domain if isinstance(domain, str) else ""
    if "://" in text:
        raise ValueError(_("The domain must not begin with http:// or https://."))
    host = text.partition(":")[0]
    if not _DOMAIN.fullmatch(text) or re.fullmatch(r"[0-9.]+", host):
        raise ValueError(_("The domain must be a host name, with its port where there is one; no path, no IP address."))


def _check_ips(app: App, values: dict[str, Any], _: Translate) -> None:
    """Raises ValueError."""
    domain, callback = values.get("trusted_domain", app.trusted_domain), values.get("callback", {})
    if not (domain or app.callback.url or callback):
        raise ValueError(_("Trusted IPs can be set after a trusted domain or a callback address."))
    for ip in values["trusted_ips"]:
        try:
            ip_address(ip)
        except ValueError as error:
            raise ValueError(_("%(ip)s is not an IP address; several are separated by ;") % {"ip": ip}) from error


async def _check_callback(request: web.Request, corpid: str, values: object, _: Translate) -> None:
    """Raises ValueError when the address does not answer as WeCom wants; an empty one switches callbacks off."""
    callback = typed.build(Callback, values, path="callback")
    if not callback.url:
        return
    problem = await request.app[COURIER].verify(corpid, callback)
    if problem:
        raise ValueError(_("The callback address did not pass (40057): %(problem)s") % {"problem": problem})
