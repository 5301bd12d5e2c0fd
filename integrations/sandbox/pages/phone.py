"""The phone: who holds it, the workbench, the conversations, live."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from integrations.sandbox.keys import WORLD
from integrations.sandbox.messages import clicks
from integrations.sandbox.messages.inbox import Message
from integrations.sandbox.pages import browser, people
from integrations.sandbox.pages.browser import GUEST, Holder
from integrations.sandbox.pages.bubbles import bubble, local_time, preview
from integrations.sandbox.pages.rendering import page
from integrations.sandbox.world import App, World

# An event stream says that it lives, so that a closed browser is noticed.
_HEARTBEAT_SECONDS = 15


def add_routes(app: web.Application) -> None:
    app.router.add_get("/phone", home)
    app.router.add_get("/phone/choose", choose)
    app.router.add_get("/phone/workbench", workbench)
    app.router.add_get("/phone/chat/{agentid}", chat)
    app.router.add_get("/phone/me", me)
    app.router.add_get("/phone/events", events)
    app.router.add_get("/sandbox/media/{media_id}", media)


@dataclass(frozen=True, slots=True)
class Conversation:
    app: App
    preview: str
    at: object


async def home(request: web.Request) -> web.StreamResponse:
    """?corpid=&userid= puts the phone into this person's hand (userid ~guest: not a member), &next= goes on there."""
    world = request.app[WORLD]
    if "corpid" in request.query:
        return _take(request, world)
    holder = browser.holder(request, world)
    if holder is None:
        raise web.HTTPFound("/phone/choose")
    return page(request, "phone/messages.html", _context(holder, "messages") | {"rows": _conversations(world, holder)})


def _take(request: web.Request, world: World) -> web.StreamResponse:
    corpid, name = request.query["corpid"], request.query.get("userid", "")
    company = world.companies.get(corpid)
    member = company.directory.find(name) if company else None
    if company is None or (member is None and name != GUEST):
        raise web.HTTPNotFound(text="no such company or member\n")
    following = request.query.get("next", "")
    inside = following.startswith("/") and not following.startswith("//") and "\\" not in following
    response = web.Response(status=302, headers={"Location": following if inside else "/phone"})
    browser.take_phone(response, corpid, member.folded if member else GUEST)
    return response


async def choose(request: web.Request) -> web.StreamResponse:
    """Who holds this phone? ?corpid= shows one company, ?q= searches."""
    world = request.app[WORLD]
    wanted = request.query.get("corpid", "")
    companies = [one for one in world.companies.values() if not wanted or one.corpid == wanted]
    asked = request.query.get("q", "")
    groups = [{"company": one, "people": people.search(one, asked, most=12)} for one in companies]
    context = {"groups": groups, "q": asked, "corpid": wanted, "next": request.query.get("next", ""), "guest": GUEST}
    return page(request, "phone/choose.html", context)


async def workbench(request: web.Request) -> web.StreamResponse:
    """The apps that this person sees; tapping one opens its home page."""
    holder = _need(request)
    return page(request, "phone/workbench.html", _context(holder, "workbench") | {"apps": _apps(holder)})


async def me(request: web.Request) -> web.StreamResponse:
    holder = _need(request)
    departments = holder.company.directory.departments
    names = [departments[number].name for number in holder.member.department] if holder.member else []
    return page(request, "phone/me.html", _context(holder, "me") | {"departments": names})


async def chat(request: web.Request) -> web.StreamResponse:
    """One app's conversation with this person, oldest first."""
    world, holder = request.app[WORLD], _need(request)
    text = request.match_info["agentid"]
    app = holder.company.apps.get(int(text)) if text.isdecimal() and len(text) < 12 else None
    if app is None:
        raise web.HTTPNotFound(text="no such app\n")
    if holder.member is not None and request.headers.get("X-Refresh") is None:
        clicks.enter(world, holder.company, app, holder.member)
    messages = [one for one in _inbox(world, holder) if one.agentid == app.agentid and not one.chatid]
    context = {"app": app, "bubbles": [bubble(message, holder.folded) for message in messages]}
    return page(request, "phone/chat.html", _context(holder, "messages") | context)


async def events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: "changed" whenever something on this person's phone did."""
    world, holder = request.app[WORLD], _need(request)
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await stream.prepare(request)
    await stream.write(b": hello\n\n")
    wake = asyncio.Event()
    stop = world.watch(holder.company.corpid, holder.folded, wake.set)
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), _HEARTBEAT_SECONDS)
            await stream.write(b"data: changed\n\n" if wake.is_set() else b": alive\n\n")
            wake.clear()
    except (ConnectionError, asyncio.CancelledError):
        return stream
    finally:
        stop()


async def media(request: web.Request) -> web.StreamResponse:
    """A picture or file of a message. Shown in the page only when it is a picture, so that it can do nothing there."""
    found = request.app[WORLD].media.get(request.match_info["media_id"])
    if found is None:
        raise web.HTTPNotFound(text="no such file\n")
    shown = found.content_type in ("image/png", "image/jpeg")
    disposition = "inline" if shown else "attachment"
    headers = {
        "Content-Type": found.content_type if shown else "application/octet-stream",
        "Content-Disposition": f"{disposition}; filename*=utf-8''{quote(found.filename, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return web.Response(body=found.body, headers=headers)


def _need(request: web.Request) -> Holder:
    holder = browser.holder(request, request.app[WORLD])
    if holder is None:
        raise web.HTTPFound("/phone/choose")
    return holder


def _context(holder: Holder, tab: str) -> dict[str, object]:
    return {"holder": holder, "company": holder.company, "member": holder.member, "tab": tab}


def _apps(holder: Holder) -> list[App]:
    if holder.member is None:
        return []
    member, company = holder.member, holder.company
    return [app for app in company.apps.values() if not app.disabled and company.receives(app, member)]


def _inbox(world: World, holder: Holder) -> list[Message]:
    return world.mail.inbox(holder.company.corpid, holder.folded) if holder.member else []


def _conversations(world: World, holder: Holder) -> list[Conversation]:
    """Apps with messages, the newest first; then the others that the person sees."""
    newest: dict[int, Message] = {}
    for message in _inbox(world, holder):
        if message.agentid is not None and not message.chatid:
            newest[message.agentid] = message
    rows = sorted(newest.items(), key=lambda item: item[1].sent_at, reverse=True)
    apps = holder.company.apps
    found = [
        Conversation(apps[agentid], preview(one), local_time(one.sent_at)) for agentid, one in rows if agentid in apps
    ]
    return found + [Conversation(app, "", None) for app in _apps(holder) if app.agentid not in newest]
