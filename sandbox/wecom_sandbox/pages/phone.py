"""The phone: its holder, the workbench, the list of conversations."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from wecom_sandbox.messages.inbox import Message
from wecom_sandbox.pages import rendering
from wecom_sandbox.pages.bubbles import Preview, make_preview, read_time
from wecom_sandbox.pages.rendering import GUEST, Holder, render
from wecom_sandbox.state.world import WORLD, App, World

# Seconds between two comments in the event stream, by which it notices that a browser was closed.
_HEARTBEAT_SECONDS = 15
# A path of the sandbox itself.
_INSIDE = re.compile(r"/(?!/)[!-\[\]-~]*")


def add_routes(app: web.Application) -> None:
    app.router.add_get("/phone", show_messages)
    app.router.add_get("/phone/choose", show_choice)
    app.router.add_get("/phone/workbench", show_workbench)
    app.router.add_get("/phone/me", show_own_page)
    app.router.add_get("/phone/events", stream_events)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A line of the list. `app` None: a group or a robot. `at` None: no message yet."""

    title: str
    link: str
    preview: Preview | None = None
    at: datetime | None = None
    app: App | None = None
    is_today: bool = True


async def show_messages(request: web.Request) -> web.StreamResponse:
    """Show the messages. ?corpid=&userid=&next= gives the phone to a person (~guest: no member), then leads to next."""
    world = request.app[WORLD]
    if "corpid" in request.query:
        return _change_holder(request, world)
    holder = rendering.find_holder(request, world)
    if holder is None:
        raise web.HTTPFound("/phone/choose")
    return render(
        request, "phone/messages.html", make_context(holder, "messages") | {"rows": _list_rows(world, holder)}
    )


def _change_holder(request: web.Request, world: World) -> web.StreamResponse:
    corpid, name = request.query["corpid"], request.query.get("userid", "")
    company = world.companies.get(corpid)
    member = company.directory.find(name) if company else None
    if company is None or (member is None and name != GUEST):
        raise web.HTTPNotFound(text="no such company or member\n")
    following = request.query.get("next", "")
    inside = _INSIDE.fullmatch(following) is not None
    response = web.Response(status=302, headers={"Location": following if inside else "/phone"})
    rendering.remember_holder(response, corpid, member.folded if member else GUEST)
    return response


async def show_choice(request: web.Request) -> web.StreamResponse:
    """Ask who holds this phone. ?corpid= shows one company, ?q= searches."""
    world = request.app[WORLD]
    wanted = request.query.get("corpid", "")
    companies = [one for one in world.companies.values() if not wanted or one.corpid == wanted]
    query = request.query.get("q", "")
    groups: list[dict[str, Any]] = [
        {
            "company": one,
            "people": [(who, rendering.find_initials(who)) for who in rendering.search_members(one, query, most=12)],
        }
        for one in companies
    ]
    values = {"groups": groups, "q": query, "corpid": wanted, "next": request.query.get("next", ""), "guest": GUEST}
    return render(request, "phone/choose.html", values)


async def show_workbench(request: web.Request) -> web.StreamResponse:
    """Show the apps that this person sees; tapping one opens its home page."""
    holder = require_holder(request)
    return render(request, "phone/workbench.html", make_context(holder, "workbench") | {"apps": _list_apps(holder)})


async def show_own_page(request: web.Request) -> web.StreamResponse:
    holder = require_holder(request)
    departments = holder.company.directory.departments
    names = [departments[number].name for number in holder.member.department] if holder.member else []
    return render(request, "phone/me.html", make_context(holder, "me") | {"departments": names})


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Send the server-sent event "changed" whenever this person's phone changes."""
    world, holder = request.app[WORLD], require_holder(request)
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    wake = asyncio.Event()
    stop = world.watch(holder.company.corpid, holder.folded, wake.set)
    try:
        await stream.prepare(request)
        await stream.write(b": hello\n\n")
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), _HEARTBEAT_SECONDS)
            await stream.write(b"data: changed\n\n" if wake.is_set() else b": alive\n\n")
            wake.clear()
    except (ConnectionError, asyncio.CancelledError):
        return stream
    finally:
        stop()


def require_holder(request: web.Request) -> Holder:
    """Return the holder. Raise a redirect to the page that asks who holds the phone."""
    holder = rendering.find_holder(request, request.app[WORLD])
    if holder is None:
        raise web.HTTPFound("/phone/choose")
    return holder


def make_context(holder: Holder, tab: str) -> dict[str, object]:
    """Return the values that every page of the phone shows."""
    return {"holder": holder, "company": holder.company, "member": holder.member, "tab": tab}


def _list_apps(holder: Holder) -> list[App]:
    if holder.member is None:
        return []
    member, company = holder.member, holder.company
    return [app for app in company.apps.values() if not app.disabled and company.app_reaches(app, member)]


def _list_rows(world: World, holder: Holder) -> list[Conversation]:
    """Return the conversations, the last message first; apps without messages come last."""
    company = holder.company
    newest: dict[str, Message] = {}
    for message in world.mail.inbox(company.corpid, holder.folded) if holder.member else ():
        newest[f"/phone/group/{message.chatid}" if message.chatid else f"/phone/chat/{message.agentid}"] = message
    if holder.member is not None:
        for robot in company.robots.values():
            group = world.mail.groups.get((company.corpid, robot.key))
            if group is not None and group.newest is not None:
                newest[f"/phone/robot/{robot.key}"] = group.newest
    rows = [_make_conversation(world, holder, link, message) for link, message in newest.items()]
    found = sorted((row for row in rows if row is not None), key=lambda row: str(row.at), reverse=True)
    unused = [app for app in _list_apps(holder) if f"/phone/chat/{app.agentid}" not in newest]
    return found + [Conversation(app.name, f"/phone/chat/{app.agentid}", app=app) for app in unused]


def _make_conversation(world: World, holder: Holder, link: str, message: Message) -> Conversation | None:
    app = holder.company.apps.get(message.agentid or 0)
    title = app.name if app is not None else ""
    if message.chatid:
        chat = world.chats.get(message.chatid)
        title, app = chat.name if chat else "", None
    elif message.robot:
        title = holder.company.robots[message.robot].name or message.robot
    at = read_time(message.sent_at)
    is_today = at.date() == read_time(world.now()).date()
    preview = make_preview(message, rendering.make_name_finder(holder.company))
    return Conversation(title, link, preview, at, app, is_today) if title else None
