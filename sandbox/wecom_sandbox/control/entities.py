"""Control of companies: the actions of an administrator in WeCom's console, without its delays."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from wecom_sandbox.api import token
from wecom_sandbox.callbacks import clicks
from wecom_sandbox.callbacks.courier import COURIER
from wecom_sandbox.control.routes import (
    app_of,
    as_list,
    as_object,
    company_of,
    number_in_path,
    number_of,
    page_as_json,
    page_of,
    person_of,
    route,
    text_of,
)
from wecom_sandbox.control.whole import ROWS_AT_ONCE, between_calls, large_answer
from wecom_sandbox.http import typed
from wecom_sandbox.messages.inbox import Message, Ring
from wecom_sandbox.pages.bubbles import href
from wecom_sandbox.pages.rendering import Refused, Translate, language, translations, with_code
from wecom_sandbox.pages.sign_in import Visit, code_for
from wecom_sandbox.state import administration
from wecom_sandbox.state.events import Callback
from wecom_sandbox.state.world import App, Company, World

APP_NAMES = tuple(sorted(administration.APP_FIELDS - {"agentid"}))


@route("GET", "companies")
async def get_companies(request: web.Request, world: World, document: object) -> object:
    """Return the companies, each with the number of its members."""
    rows = [{"corpid": one.corpid, "name": one.name, "members": len(one.directory.members)} for one in _all(world)]
    return {"companies": rows}


def _all(world: World) -> list[Company]:
    return list(world.companies.values())


@route("POST", "companies")
async def post_company(request: web.Request, world: World, document: Any) -> object:
    """Create a company, or replace the one with this corpid, with everything in it."""
    company = await between_calls(administration.put_company_in_steps(world, document))
    return await large_answer(administration.company_as_json(company, iter))


@route("GET", "companies/{corpid}")
async def get_company(request: web.Request, world: World, document: object) -> object:
    """Return a whole company, as in a seed."""
    return await large_answer(administration.company_as_json(company_of(request, world), iter))


@route("PATCH", "companies/{corpid}")
async def patch_company(request: web.Request, world: World, document: Any) -> object:
    """Change the given fields of a company."""
    company = company_of(request, world)
    administration.change_company(company, document)
    return await large_answer(administration.company_as_json(company, iter))


@route("DELETE", "companies/{corpid}")
async def delete_company(request: web.Request, world: World, document: object) -> object:
    """Forget a company with everything in it."""
    administration.remove_company(world, request.match_info["corpid"])
    return {}


@route("POST", "companies/{corpid}/departments")
async def post_departments(request: web.Request, world: World, document: Any) -> object:
    """Add departments, or change the given fields of known ones."""
    return {"count": administration.put_departments(world, company_of(request, world), as_list(document))}


@route("DELETE", "companies/{corpid}/departments/{id}")
async def delete_department(request: web.Request, world: World, document: object) -> object:
    """Delete an empty department."""
    administration.remove_department(world, company_of(request, world), number_in_path(request, "id"))
    return {}


@route("POST", "companies/{corpid}/members")
async def post_members(request: web.Request, world: World, document: Any) -> object:
    """Add members, or change the given fields of known ones, one by one: those before a wrong one are kept."""
    company, rows = company_of(request, world), as_list(document)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        if world.companies.get(company.corpid) is not company:
            raise KeyError(company.corpid)
        administration.put_members(world, company, rows[start : start + ROWS_AT_ONCE])
        await asyncio.sleep(0)
    return {"count": len(rows)}


@route("DELETE", "companies/{corpid}/members/{userid}")
async def delete_member(request: web.Request, world: World, document: object) -> object:
    """Remove a person who leaves the company."""
    administration.remove_member(world, company_of(request, world), request.match_info["userid"])
    return {}


@route("POST", "companies/{corpid}/tags")
async def post_tags(request: web.Request, world: World, document: Any) -> object:
    """Add tags, or change the given fields of known ones."""
    return {"count": administration.put_tags(world, company_of(request, world), as_list(document))}


@route("POST", "companies/{corpid}/robots")
async def post_robots(request: web.Request, world: World, document: Any) -> object:
    """Add group robots, or replace them by their keys."""
    return {"count": administration.put_robots(company_of(request, world), as_list(document))}


@route("POST", "companies/{corpid}/apps")
async def post_apps(request: web.Request, world: World, document: Any) -> object:
    """Add apps, or change the given fields of known ones."""
    company = company_of(request, world)
    administration.put_apps(world, company, as_list(document))
    return {"apps": [administration.app_as_json(app) for app in company.apps.values()]}


@route("PATCH", "companies/{corpid}/apps/{agentid}")
async def patch_app(request: web.Request, world: World, document: Any) -> object:
    """Change the given fields of an app, without the rules of WeCom's console."""
    app = app_of(request, world)
    administration.put_apps(
        world, company_of(request, world), [{**as_object(document, *APP_NAMES), "agentid": app.agentid}]
    )
    return administration.app_as_json(app)


@route("POST", "companies/{corpid}/apps/{agentid}/invalidate")
async def invalidate(request: web.Request, world: World, document: Any) -> object:
    """Invalidate the app's tokens: {"code": 40014} (default) or {"code": 42001}."""
    app = app_of(request, world)
    code = as_object(document, "code").get("code", 40014)
    if code not in (40014, 42001):
        raise ValueError("code must be 40014 or 42001")
    return {"tokens": token.invalidate(world, company_of(request, world).corpid, app.agentid, code=code)}


@route("POST", "companies/{corpid}/apps/{agentid}/secret")
async def reset_secret(request: web.Request, world: World, document: object) -> object:
    """Make a new secret; the old one and its tokens become invalid (40001)."""
    app = app_of(request, world)
    app.secret = administration.new_secret()
    return {"secret": app.secret}


@route("POST", "companies/{corpid}/apps/{agentid}/callback/verify")
async def verify_callback(request: web.Request, world: World, document: object) -> object:
    """Check the address as WeCom's console does: {"problem": ""} if the app answers rightly within a second."""
    app = app_of(request, world)
    return {"problem": await request.app[COURIER].verify(company_of(request, world).corpid, app.callback)}


@route("POST", "companies/{corpid}/contacts/callback/verify")
async def verify_contacts_callback(request: web.Request, world: World, document: object) -> object:
    """Check the callback address of the directory-sync assistant in the same way."""
    company = company_of(request, world)
    return {"problem": await request.app[COURIER].verify(company.corpid, company.contacts_callback)}


@route("POST", "companies/{corpid}/apps/{agentid}/domain/verify")
async def verify_domain(request: web.Request, world: World, document: object) -> object:
    """Look for the verification file on the trusted domain: {"problem": "", "file": "WW_verify_….txt"}."""
    company, app = company_of(request, world), app_of(request, world)
    return {
        "problem": await request.app[COURIER].verify_domain(company, app),
        "file": administration.verification_file(company, app),
    }


@route("POST", "companies/{corpid}/apps/{agentid}/signature")
async def check_signature(request: web.Request, world: World, document: Any) -> object:
    """Return which JS-SDK ticket of the app made a signature: {"ticket": "config" | "agent_config" | ""}."""
    values = as_object(document, "signature", "noncestr", "timestamp", "url")
    signed = {name: text_of(values, name) for name in ("noncestr", "timestamp", "url")}
    corpid, app = company_of(request, world).corpid, app_of(request, world)
    return {"ticket": token.signed_with(world, corpid, app.agentid, text_of(values, "signature"), **signed)}


@route("GET", "companies/{corpid}/members/{userid}/messages")
async def get_messages(request: web.Request, world: World, document: object) -> object:
    """Return the messages on this person's phone, oldest first, page by page."""
    company, member = person_of(request, world)
    page = page_of(request, world.mail.inboxes.get((company.corpid, member.folded), Ring()))
    return await large_answer(page_as_json("messages", page, lambda message: message.as_json(member.folded)))


@route("GET", "companies/{corpid}/messages")
async def get_company_messages(request: web.Request, world: World, document: object) -> object:
    """Return the company's messages, oldest first, page by page, with receivers and members WeCom left out."""
    page = page_of(request, world.mail.companies.get(company_of(request, world).corpid, Ring()))
    return await large_answer(page_as_json("messages", page, Message.as_json))


@route("POST", "companies/{corpid}/members/{userid}/authorize")
async def authorize(request: web.Request, world: World, document: Any) -> object:
    """Pass the authorise page in the person's browser: {"redirect_uri", "state", "agentid", "scope"}."""
    company, member = person_of(request, world)
    values = as_object(document, "redirect_uri", "state", "agentid", "scope")
    visit = Visit.from_query(
        {"appid": company.corpid, "response_type": "code", "scope": "snsapi_base"}
        | {name: text_of(values, name) for name in values}
    )
    try:
        target = visit.checked(world, web_login=False)
    except Refused as refused:
        raise ValueError(refused.text) from refused
    code = code_for(world, target, member.userid)
    return {"code": code, "url": with_code(visit.redirect_uri, code, visit.state)}


@route("POST", "companies/{corpid}/members/{userid}/rename")
async def rename(request: web.Request, world: World, document: Any) -> object:
    """Give the person another userid; scopes, tags, groups and messages stay with the person."""
    company, member = person_of(request, world)
    administration.rename_member(world, company, member.userid, text_of(as_object(document, "userid"), "userid"))
    return {}


@route("POST", "companies/{corpid}/members/{userid}/click")
async def click(request: web.Request, world: World, document: Any) -> object:
    """Press a button of a card: {"msgid", "key", "selected": {question_key: [option id]}}."""
    company, member = person_of(request, world)
    values = as_object(document, "msgid", "key", "selected")
    key, selected = text_of(values, "key"), chosen(values.get("selected", {}))
    message = world.mail.messages[text_of(values, "msgid")]
    clicks.click(world, company, member, message, key, selected)
    return {}


@route("POST", "companies/{corpid}/members/{userid}/write")
async def write(request: web.Request, world: World, document: Any) -> object:
    """Write to an app: {"agentid", "text"}."""
    company, member = person_of(request, world)
    values = as_object(document, "agentid", "text")
    clicks.write_text(world, company, _app(company, values), member, text_of(values, "text"))
    return {}


@route("POST", "companies/{corpid}/members/{userid}/menu")
async def menu(request: web.Request, world: World, document: Any) -> object:
    """Press an entry of an app's menu: {"agentid", "path": [0, 1]}. Return the address that it opens."""
    company, member = person_of(request, world)
    values = as_object(document, "agentid", "path")
    path = values.get("path")
    if not isinstance(path, list) or not all(type(index) is int for index in path):
        raise ValueError("path must be a list of positions")
    return {"url": clicks.press_menu(world, company, _app(company, values), member, path)}


def chosen(value: object) -> dict[str, list[str]]:
    """Return the chosen option ids by question key. Raise ValueError."""
    if not isinstance(value, dict):
        raise ValueError("selected must be an object")
    for options in value.values():
        if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
            raise ValueError("selected must map question keys to lists of option ids")
    return value


def _app(company: Company, values: dict[str, Any]) -> App:
    """Return the app. Raise KeyError."""
    return company.apps[number_of(values, "agentid")]


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


@route("PATCH", "companies/{corpid}/apps/{agentid}/console")
async def save_in_console(request: web.Request, world: World, document: Any) -> object:
    """Save the given fields as WeCom's console does: a domain must be verified again, a trusted IP takes a minute."""
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
    """Raise ValueError for a wrong value. The page shows the text, in the language of the reader, beside the button."""
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
    """Raise ValueError unless it is host or host:port: no scheme, no path, no "_", no IP address."""
    text = domain if isinstance(domain, str) else ""
    if "://" in text:
        raise ValueError(_("The domain must not begin with http:// or https://."))
    host = text.partition(":")[0]
    if not _DOMAIN.fullmatch(text) or re.fullmatch(r"[0-9.]+", host):
        raise ValueError(_("The domain must be a host name, with its port where there is one; no path, no IP address."))


def _check_ips(app: App, values: dict[str, Any], _: Translate) -> None:
    """Raise ValueError for a wrong address, or without a domain or callback address."""
    domain, callback = values.get("trusted_domain", app.trusted_domain), values.get("callback", {})
    if not (domain or app.callback.url or callback):
        raise ValueError(_("Trusted IPs can be set after a trusted domain or a callback address."))
    for ip in values["trusted_ips"]:
        try:
            ip_address(ip)
        except ValueError as error:
            raise ValueError(_("%(ip)s is not an IP address; several are separated by ;") % {"ip": ip}) from error


async def _check_callback(request: web.Request, corpid: str, values: object, _: Translate) -> None:
    """Raise ValueError if the address does not answer as WeCom wants; an empty one switches callbacks off."""
    callback = typed.build(Callback, values, path="callback")
    if not callback.url:
        return
    problem = await request.app[COURIER].verify(corpid, callback)
    if problem:
        raise ValueError(_("The callback address did not pass (40057): %(problem)s") % {"problem": problem})
