"""Control of people: what somebody's phone shows, and what somebody does with it."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from aiohttp import web

from wecom_sandbox.callbacks import clicks
from wecom_sandbox.control.routes import (
    as_object,
    company_of,
    number_of,
    page_as_json,
    page_of,
    person_of,
    route,
    text_of,
)
from wecom_sandbox.control.schemas import ANY_OBJECT, INTEGER, PAGE, TEXT_OR_INTEGER, an_object, page, rows
from wecom_sandbox.control.steps import large_answer
from wecom_sandbox.http import typed
from wecom_sandbox.messages.inbox import Message
from wecom_sandbox.messages.ring import Ring
from wecom_sandbox.pages.targets import Refused, with_code
from wecom_sandbox.pages.visits import Visit, code_for
from wecom_sandbox.state import administration, events
from wecom_sandbox.state.world import App, Company, World

# What a member can send to an app, apart from texts.
_KINDS = ("image", "voice", "video", "location", "link")
_VISIT = an_object(**dict.fromkeys(("redirect_uri", "state", "agentid", "scope"), TEXT_OR_INTEGER))
_CLICK = an_object(msgid=TEXT_OR_INTEGER, key=TEXT_OR_INTEGER, selected=ANY_OBJECT)
_EVENT = an_object(agentid=INTEGER, event=TEXT_OR_INTEGER, elements=ANY_OBJECT)
_MESSAGE = an_object(["msgtype"], agentid=INTEGER, msgtype={"enum": list(_KINDS)}, elements=ANY_OBJECT)
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}")


@route("GET", "companies/{corpid}/members/{userid}")
async def get_member(request: web.Request, world: World, document: object) -> object:
    """One member."""
    company, member = person_of(request, world)
    return asdict(member)


@route("GET", "companies/{corpid}/members/{userid}/messages", query=PAGE, answer=page("messages"))
async def get_messages(request: web.Request, world: World, document: object) -> object:
    """What stands on this person's phone, oldest first, page by page."""
    company, member = person_of(request, world)
    page = page_of(request, world.mail.inboxes.get((company.corpid, member.folded), Ring()))
    return await large_answer(page_as_json("messages", page, lambda message: message.as_json(member.folded)))


@route("GET", "companies/{corpid}/messages", query=PAGE, answer=page("messages"))
async def get_company_messages(request: web.Request, world: World, document: object) -> object:
    """The company's messages that are still kept, oldest first, page by page, with receivers and whom WeCom dropped."""
    page = page_of(request, world.mail.companies.get(company_of(request, world).corpid, Ring()))
    return await large_answer(page_as_json("messages", page, Message.as_json))


@route("POST", "companies/{corpid}/members/{userid}/authorize", body=_VISIT)
async def authorize(request: web.Request, world: World, document: Any) -> object:
    """The person's browser passes the authorise page: {"redirect_uri", "state", "agentid", "scope"}."""
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


@route("POST", "companies/{corpid}/members/{userid}/rename", body=an_object(["userid"], userid=TEXT_OR_INTEGER))
async def rename(request: web.Request, world: World, document: Any) -> object:
    """Give the person another userid; scopes, tags, groups and messages stay hers."""
    company, member = person_of(request, world)
    administration.rename_member(world, company, member.userid, text_of(as_object(document, "userid"), "userid"))
    return {}


@route("POST", "companies/{corpid}/members/{userid}/click", body=_CLICK)
async def click(request: web.Request, world: World, document: Any) -> object:
    """Press a button of a card: {"msgid", "key", "selected": {question_key: [option id]}}."""
    company, member = person_of(request, world)
    values = as_object(document, "msgid", "key", "selected")
    key, selected = text_of(values, "key"), chosen(values.get("selected", {}))
    message = world.mail.messages[text_of(values, "msgid")]
    clicks.click(world, company, member, message, key, selected)
    return {}


@route("POST", "companies/{corpid}/members/{userid}/write", body=an_object(agentid=INTEGER, text=TEXT_OR_INTEGER))
async def write(request: web.Request, world: World, document: Any) -> object:
    """Write to an app: {"agentid", "text"}."""
    company, member = person_of(request, world)
    values = as_object(document, "agentid", "text")
    clicks.write_text(world, company, _app(company, values), member, text_of(values, "text"))
    return {}


@route("POST", "companies/{corpid}/members/{userid}/message", body=_MESSAGE)
async def message(request: web.Request, world: World, document: Any) -> object:
    """Send an app a message of any kind: {"agentid", "msgtype": "location", "elements": {"Location_X": "23.1", …}}."""
    company, member = person_of(request, world)
    values = as_object(document, "agentid", "msgtype", "elements")
    elements = values.get("elements", {})
    _check_elements(elements)
    kind = text_of(values, "msgtype")
    if kind not in _KINDS:
        raise ValueError(
            f"msgtype must be one of {', '.join(_KINDS)}; a text is written, an event has a call of its own"
        )
    clicks.send_message(world, company, _app(company, values), member, kind, elements)
    return {}


@route("POST", "companies/{corpid}/members/{userid}/menu", body=an_object(agentid=INTEGER, path=rows(INTEGER)))
async def menu(request: web.Request, world: World, document: Any) -> object:
    """Press an entry of an app's menu: {"agentid", "path": [0, 1]}; answers the address that it opens."""
    company, member = person_of(request, world)
    values = as_object(document, "agentid", "path")
    path = values.get("path")
    if not isinstance(path, list) or not all(type(index) is int for index in path):
        raise ValueError("path must be a list of positions")
    return {"url": clicks.press_menu(world, company, _app(company, values), member, path)}


@route(
    "POST",
    "companies/{corpid}/members/{userid}/event",
    body=_EVENT,
)
async def event(request: web.Request, world: World, document: Any) -> object:
    """Send an app any event in this person's name: {"agentid", "event": "LOCATION", "elements": {…}}."""
    company, member = person_of(request, world)
    values = as_object(document, "agentid", "event", "elements")
    elements = values.get("elements", {})
    _check_elements(elements)
    app, name, now = _app(company, values), text_of(values, "event"), world.now()
    sent = events.event(company.corpid, None, name, now=now, userid=member.userid) | elements
    clicks.send_event(world, company, app, sent | {"AgentID": app.agentid})
    return {}


def chosen(value: object) -> dict[str, list[str]]:
    """Question keys to option ids. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("selected must be an object")
    for options in value.values():
        if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
            raise ValueError("selected must map question keys to lists of option ids")
    return value


def _app(company: Company, values: dict[str, Any]) -> App:
    """Raises KeyError."""
    return company.apps[number_of(values, "agentid")]


def _check_elements(elements: object) -> None:
    """Raises ValueError for what makes no XML."""
    if not isinstance(elements, dict):
        raise ValueError("elements must be an object")
    typed.check_depth(elements, "elements")
    waiting: list[object] = [elements]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            wrong = [name for name in part if not _ELEMENT.fullmatch(name)]
            if wrong:
                raise ValueError(f"elements has {wrong[0]!r}, which is no name of an element")
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
