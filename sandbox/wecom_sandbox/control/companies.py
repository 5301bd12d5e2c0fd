"""Control of companies and of their members' phones. An administrator's actions have no delay, unless they say so."""

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
    find_app,
    find_company,
    find_person,
    make_page_json,
    read_list,
    read_number,
    read_object,
    read_page,
    read_path_id,
    read_text,
    route,
)
from wecom_sandbox.control.system import ROWS_AT_ONCE, make_large_response, run_between_calls
from wecom_sandbox.http import typed
from wecom_sandbox.messages.inbox import Message, Ring
from wecom_sandbox.pages.bubbles import check_href
from wecom_sandbox.pages.rendering import Translate, VisitRefused, add_code, find_language, load_texts
from wecom_sandbox.pages.sign_in import Visit, make_code
from wecom_sandbox.state import administration
from wecom_sandbox.state.events import Callback
from wecom_sandbox.state.world import App, Company, World

APP_FIELD_NAMES = tuple(sorted(administration.APP_FIELDS - {"agentid"}))


@route("GET", "companies")
async def get_companies(request: web.Request, world: World, document: object) -> object:
    """Return the companies, each with the number of its members."""
    companies = world.companies.values()
    rows = [{"corpid": one.corpid, "name": one.name, "members": len(one.directory.members)} for one in companies]
    return {"companies": rows}


@route("POST", "companies")
async def post_company(request: web.Request, world: World, document: Any) -> object:
    """Create a company, or replace the one with this corpid, with everything in it."""
    company = await run_between_calls(administration.put_company_in_steps(world, document))
    return await make_large_response(administration.make_company_json(company, rows=iter))  # makes rows one by one


@route("GET", "companies/{corpid}")
async def get_company(request: web.Request, world: World, document: object) -> object:
    """Return a whole company, as in a seed."""
    return await make_large_response(administration.make_company_json(find_company(request, world), rows=iter))


@route("PATCH", "companies/{corpid}")
async def patch_company(request: web.Request, world: World, document: Any) -> object:
    """Change the given fields of a company."""
    company = find_company(request, world)
    administration.change_company(company, document)
    return await make_large_response(administration.make_company_json(company, rows=iter))


@route("DELETE", "companies/{corpid}")
async def delete_company(request: web.Request, world: World, document: object) -> object:
    """Forget a company with everything in it."""
    administration.remove_company(world, request.match_info["corpid"])
    return {}


@route("POST", "companies/{corpid}/departments")
async def post_departments(request: web.Request, world: World, document: Any) -> object:
    """Add departments, or change the given fields of known ones."""
    return {"count": administration.put_departments(world, find_company(request, world), read_list(document))}


@route("DELETE", "companies/{corpid}/departments/{id}")
async def delete_department(request: web.Request, world: World, document: object) -> object:
    """Delete an empty department."""
    administration.remove_department(world, find_company(request, world), read_path_id(request, "id"))
    return {}


@route("POST", "companies/{corpid}/members")
async def post_members(request: web.Request, world: World, document: Any) -> object:
    """Add members, or change the given fields of known ones, one by one: rows before a wrong one take effect."""
    company, rows = find_company(request, world), read_list(document)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        if world.companies.get(company.corpid) is not company:
            raise KeyError(company.corpid)
        administration.put_members(world, company, rows[start : start + ROWS_AT_ONCE])
        await asyncio.sleep(0)
    return {"count": len(rows)}


@route("DELETE", "companies/{corpid}/members/{userid}")
async def delete_member(request: web.Request, world: World, document: object) -> object:
    """Remove a person who leaves the company."""
    administration.remove_member(world, find_company(request, world), request.match_info["userid"])
    return {}


@route("POST", "companies/{corpid}/tags")
async def post_tags(request: web.Request, world: World, document: Any) -> object:
    """Add tags, or change the given fields of known ones."""
    return {"count": administration.put_tags(world, find_company(request, world), read_list(document))}


@route("POST", "companies/{corpid}/robots")
async def post_robots(request: web.Request, world: World, document: Any) -> object:
    """Add group robots, or replace those with the same keys."""
    return {"count": administration.put_robots(find_company(request, world), read_list(document))}


@route("POST", "companies/{corpid}/apps")
async def post_apps(request: web.Request, world: World, document: Any) -> object:
    """Add apps, or change the given fields of known ones."""
    company = find_company(request, world)
    administration.put_apps(world, company, read_list(document))
    return {"apps": [administration.make_app_json(app) for app in company.apps.values()]}


@route("PATCH", "companies/{corpid}/apps/{agentid}")
async def patch_app(request: web.Request, world: World, document: Any) -> object:
    """Change the given fields of an app, without the rules of WeCom's console."""
    app = find_app(request, world)
    administration.put_apps(
        world, find_company(request, world), [{**read_object(document, *APP_FIELD_NAMES), "agentid": app.agentid}]
    )
    return administration.make_app_json(app)


@route("POST", "companies/{corpid}/apps/{agentid}/invalidate")
async def post_invalidate(request: web.Request, world: World, document: Any) -> object:
    """Invalidate the app's tokens: {"code": 40014} (default) or {"code": 42001}."""
    app = find_app(request, world)
    code = read_object(document, "code").get("code", 40014)
    if code not in (40014, 42001):
        raise ValueError("code must be 40014 or 42001")
    return {"tokens": token.invalidate_tokens(world, find_company(request, world).corpid, app.agentid, code=code)}


@route("POST", "companies/{corpid}/apps/{agentid}/secret")
async def reset_secret(request: web.Request, world: World, document: object) -> object:
    """Make a new secret; the old one and its tokens become invalid (40001)."""
    app = find_app(request, world)
    app.secret = administration.make_secret()
    return {"secret": app.secret}


@route("POST", "companies/{corpid}/apps/{agentid}/callback/verify")
async def verify_callback(request: web.Request, world: World, document: object) -> object:
    """Check the address as WeCom's console does: {"problem": ""} if the app answers correctly within a second."""
    app = find_app(request, world)
    return {"problem": await request.app[COURIER].verify_callback(find_company(request, world).corpid, app.callback)}


@route("POST", "companies/{corpid}/contacts/callback/verify")
async def verify_contacts_callback(request: web.Request, world: World, document: object) -> object:
    """Check the callback address of the directory-sync assistant in the same way."""
    company = find_company(request, world)
    return {"problem": await request.app[COURIER].verify_callback(company.corpid, company.contacts_callback)}


@route("POST", "companies/{corpid}/apps/{agentid}/domain/verify")
async def verify_domain(request: web.Request, world: World, document: object) -> object:
    """Look for the verification file on the trusted domain: {"problem": "", "file": "WW_verify_….txt"}."""
    company, app = find_company(request, world), find_app(request, world)
    return {
        "problem": await request.app[COURIER].verify_domain(company, app),
        "file": administration.make_verification_file_name(company, app),
    }


@route("POST", "companies/{corpid}/apps/{agentid}/signature")
async def check_signature(request: web.Request, world: World, document: Any) -> object:
    """Return which JS-SDK ticket of the app made a signature: {"ticket": "config" | "agent_config" | ""}."""
    values = read_object(document, "signature", "noncestr", "timestamp", "url")
    signed = {name: read_text(values, name) for name in ("noncestr", "timestamp", "url")}
    corpid, app = find_company(request, world).corpid, find_app(request, world)
    return {"ticket": token.find_signing_ticket(world, corpid, app.agentid, read_text(values, "signature"), **signed)}


@route("GET", "companies/{corpid}/members/{userid}/messages")
async def get_messages(request: web.Request, world: World, document: object) -> object:
    """Return the messages on this person's phone, oldest first, page by page."""
    company, member = find_person(request, world)
    page = read_page(request, world.mail.inboxes.get((company.corpid, member.folded), Ring()))
    return await make_large_response(make_page_json("messages", page, lambda message: message.as_json(member.folded)))


@route("GET", "companies/{corpid}/messages")
async def get_company_messages(request: web.Request, world: World, document: object) -> object:
    """Return the company's messages, oldest first, page by page, each with its receivers and dropped recipients."""
    page = read_page(request, world.mail.companies.get(find_company(request, world).corpid, Ring()))
    return await make_large_response(make_page_json("messages", page, Message.as_json))


@route("POST", "companies/{corpid}/members/{userid}/authorize")
async def authorize(request: web.Request, world: World, document: Any) -> object:
    """Pass the authorise page in the person's browser: {"redirect_uri", "state", "agentid", "scope"}."""
    company, member = find_person(request, world)
    values = read_object(document, "redirect_uri", "state", "agentid", "scope")
    visit = Visit.from_query(
        {"appid": company.corpid, "response_type": "code", "scope": "snsapi_base"}
        | {name: read_text(values, name) for name in values}
    )
    try:
        target = visit.check(world, web_login=False)
    except VisitRefused as refused:
        raise ValueError(refused.text) from refused
    code = make_code(world, target, member.userid)
    return {"code": code, "url": add_code(visit.redirect_uri, code, visit.state)}


@route("POST", "companies/{corpid}/members/{userid}/rename")
async def rename_member(request: web.Request, world: World, document: Any) -> object:
    """Give the person another userid; scopes, tags, groups and messages stay with the person."""
    company, member = find_person(request, world)
    administration.rename_member(world, company, member.userid, read_text(read_object(document, "userid"), "userid"))
    return {}


@route("POST", "companies/{corpid}/members/{userid}/click")
async def click_card(request: web.Request, world: World, document: Any) -> object:
    """Press a button of a card: {"msgid", "key", "selected": {question_key: [option id]}}."""
    company, member = find_person(request, world)
    values = read_object(document, "msgid", "key", "selected")
    key, selected = read_text(values, "key"), read_selected(values.get("selected", {}))
    message = world.mail.messages[read_text(values, "msgid")]
    clicks.press_button(world, company, member, message, key, selected)
    return {}


@route("POST", "companies/{corpid}/members/{userid}/write")
async def write_text(request: web.Request, world: World, document: Any) -> object:
    """Write to an app: {"agentid", "text"}."""
    company, member = find_person(request, world)
    values = read_object(document, "agentid", "text")
    clicks.write_text(world, company, _find_app(company, values), member, read_text(values, "text"))
    return {}


@route("POST", "companies/{corpid}/members/{userid}/menu")
async def press_menu(request: web.Request, world: World, document: Any) -> object:
    """Press an entry of an app's menu: {"agentid", "path": [0, 1]}. Return the address that it opens."""
    company, member = find_person(request, world)
    values = read_object(document, "agentid", "path")
    path = values.get("path")
    if not isinstance(path, list) or not all(type(index) is int for index in path):
        raise ValueError("path must be a list of positions")
    return {"url": clicks.press_menu(world, company, _find_app(company, values), member, path)}


def read_selected(value: object) -> dict[str, list[str]]:
    """Return the chosen option ids by question key. Raise ValueError."""
    if not isinstance(value, dict):
        raise ValueError("selected must be an object")
    for options in value.values():
        if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
            raise ValueError("selected must map question keys to lists of option ids")
    return value


def _find_app(company: Company, values: dict[str, Any]) -> App:
    """Return the app. Raise KeyError."""
    return company.apps[read_number(values, "agentid")]


_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")
_CONSOLE_FIELDS = (
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
    """Save the given fields as WeCom's console does: a new domain is unverified, a new trusted IP takes a minute."""
    company, app = find_company(request, world), find_app(request, world)
    values = read_object(document, *_CONSOLE_FIELDS)
    await _check_console_values(request, company, app, values)
    old_domain, old_ips = app.trusted_domain, dict.fromkeys(app.trusted_ips or ())
    effective = app.ip_effective_at.copy()
    administration.put_apps(world, company, [{**values, "agentid": app.agentid}])
    if app.trusted_domain != old_domain:
        app.domain_verified = False
    now = world.now()
    new_ips = {ip: now + world.settings.trusted_ip_delay_seconds for ip in app.trusted_ips or () if ip not in old_ips}
    app.ip_effective_at = effective | new_ips
    return administration.make_app_json(app)


async def _check_console_values(request: web.Request, company: Company, app: App, values: dict[str, Any]) -> None:
    """Raise ValueError for a wrong value. The page shows the text, in the language of the reader, beside the button."""
    _ = load_texts(find_language(request)).gettext
    for name in ("trusted_domain", "callback_domain"):
        if values.get(name):
            _check_domain(values[name], _)
    typed.check_fields(App, values, path="app")
    if values.get("home_url") and not check_href(values["home_url"]):
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
    """Raise ValueError for a wrong IP, or for an app that has neither a domain nor a callback address."""
    domain, callback = values.get("trusted_domain", app.trusted_domain), values.get("callback", {})
    if not (domain or app.callback.url or callback):
        raise ValueError(_("Trusted IPs can be set after a trusted domain or a callback address."))
    for ip in values["trusted_ips"]:
        try:
            ip_address(ip)
        except ValueError as error:
            raise ValueError(_("%(ip)s is not an IP address; several are separated by ;") % {"ip": ip}) from error


async def _check_callback(request: web.Request, corpid: str, values: object, _: Translate) -> None:
    """Raise ValueError if the address does not answer as WeCom requires; an empty one switches callbacks off."""
    callback = typed.build(Callback, values, path="callback")
    if not callback.url:
        return
    problem = await request.app[COURIER].verify_callback(corpid, callback)
    if problem:
        raise ValueError(_("The callback address did not pass (40057): %(problem)s") % {"problem": problem})
