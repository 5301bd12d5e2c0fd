"""Conversations on the phone with an app, a group or a robot, and the actions in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import quote

from aiohttp import web

from wecom_sandbox.callbacks import clicks
from wecom_sandbox.http import bodies
from wecom_sandbox.http.typed import read_integer
from wecom_sandbox.messages.inbox import Message
from wecom_sandbox.pages import bubbles, rendering
from wecom_sandbox.pages.bubbles import make_bubble, read_time
from wecom_sandbox.pages.phone import make_context, require_holder
from wecom_sandbox.pages.rendering import Holder, load_texts, render
from wecom_sandbox.pages.rendering import gettext_noop as _
from wecom_sandbox.state.world import WORLD, App, World

_TEXT_MOST = 2000
# Texts that the phone shows, by the text of clicks.ImpossibleAction.
_REFUSAL_TEXTS = {
    "no such card": _("This card is not there any more."),
    "no such button": _("This button can no longer be pressed."),
    "no such option": _("This choice is no longer offered."),
    "no such menu entry": _("The app has changed its menu. Open the conversation again."),
    "no such app": _("This app does not exist any more."),
}
_NOBODY = _("Nobody holds this phone any more. Choose who does.")
_GUEST = _("A guest can only read. Choose a member of the company to hold this phone.")
_NOT_UNDERSTOOD = _("The sandbox did not understand that.")
_PICTURES = ("image/png", "image/jpeg")
# An article's HTML is the app's: it may show pictures of this machine and nothing else.
_ARTICLE_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data: http://localhost:* http://127.0.0.1:*"
)


def add_routes(app: web.Application) -> None:
    app.router.add_get("/phone/chat/{agentid}", show_chat)
    app.router.add_post("/phone/chat/{agentid}/write", _make_action_handler(write_text))
    app.router.add_post("/phone/chat/{agentid}/menu", _make_action_handler(press_menu))
    app.router.add_post("/phone/chat/{agentid}/click", _make_action_handler(press_button))
    app.router.add_get("/phone/group/{chatid}", show_group)
    app.router.add_get("/phone/robot/{key}", show_robot)
    app.router.add_get("/phone/article/{msgid}/{index}", show_article)
    app.router.add_get("/phone/article/{msgid}/{index}/body", show_article_body)
    app.router.add_get("/sandbox/media/{media_id}", show_media)


async def show_chat(request: web.Request) -> web.StreamResponse:
    """Show one app's conversation with this person, oldest first."""
    world, holder = request.app[WORLD], require_holder(request)
    app = _find_app(request, holder)
    if holder.member is not None and "X-Refresh" not in request.headers:
        clicks.open_conversation(world, holder.company, app, holder.member)
    messages = (one for one in _list_messages(world, holder) if one.agentid == app.agentid and not one.chatid)
    buttons = app.menu.get("button", []) if app.menu else []
    return _render_thread(request, holder, app.name, messages, {"app": app, "menu": buttons, "thread": app.agentid})


async def show_group(request: web.Request) -> web.StreamResponse:
    world, holder = request.app[WORLD], require_holder(request)
    found = world.chats.get(request.match_info["chatid"])
    if found is None or found.corpid != holder.company.corpid or holder.folded not in found.members:
        raise web.HTTPNotFound(text="no such group\n")
    messages = (one for one in _list_messages(world, holder) if one.chatid == found.chatid)
    return _render_thread(request, holder, f"{found.name} ({len(found.members)})", messages, {})


async def show_robot(request: web.Request) -> web.StreamResponse:
    world, holder = request.app[WORLD], require_holder(request)
    found = holder.company.robots.get(request.match_info["key"])
    if found is None or holder.member is None:
        raise web.HTTPNotFound(text="no such robot\n")
    messages = world.mail.groups.get((holder.company.corpid, found.key), ())
    return _render_thread(request, holder, found.name or found.key, messages, {})


def _render_thread(
    request: web.Request, holder: Holder, title: str, messages: Iterable[Message], more: dict[str, object]
) -> web.Response:
    find_name = rendering.make_name_finder(holder.company)
    drawn = [make_bubble(message, holder.folded, find_name) for message in messages]
    values = {"title": title, "bubbles": drawn, "app": None, "menu": [], "thread": "", **more}
    return render(request, "phone/chat.html", make_context(holder, "messages") | values)


def _make_action_handler(
    act: Callable[[World, Holder, App, dict[str, Any]], dict[str, object]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Make a handler of an action in an app's conversation: JSON in and out, {"error"} if it is impossible."""

    async def answer(request: web.Request) -> web.StreamResponse:
        world = request.app[WORLD]
        holder = rendering.find_holder(request, world)
        if holder is None or holder.member is None:
            return _make_refusal(request, _NOBODY if holder is None else _GUEST, 403)
        if request.content_type != "application/json":
            return _make_refusal(request, _NOT_UNDERSTOOD, 415)
        try:
            document = bodies.parse_json(await request.read())
            if not isinstance(document, dict):
                raise ValueError("a JSON object is expected")
            return web.json_response(act(world, holder, _find_app(request, holder), document))
        except clicks.ImpossibleAction as error:
            return _make_refusal(request, _REFUSAL_TEXTS.get(str(error), _NOT_UNDERSTOOD), 400)
        except web.HTTPNotFound:
            return _make_refusal(request, _REFUSAL_TEXTS["no such app"], 404)
        except (ValueError, TypeError, KeyError, AttributeError):
            return _make_refusal(request, _NOT_UNDERSTOOD, 400)

    return answer


def _make_refusal(request: web.Request, text: str, status: int) -> web.Response:
    """Return the error in the reader's language, because the phone shows it."""
    return web.json_response({"error": load_texts(rendering.find_language(request)).gettext(text)}, status=status)


def write_text(world: World, holder: Holder, app: App, document: dict[str, Any]) -> dict[str, object]:
    text = str(document["text"]).strip()[:_TEXT_MOST]
    if text and holder.member is not None:
        clicks.write_text(world, holder.company, app, holder.member, text)
    return {}


def press_menu(world: World, holder: Holder, app: App, document: dict[str, Any]) -> dict[str, object]:
    if holder.member is None:
        return {}
    path = [int(index) for index in document["path"]]
    return {"url": bubbles.check_href(clicks.press_menu(world, holder.company, app, holder.member, path))}


def press_button(world: World, holder: Holder, app: App, document: dict[str, Any]) -> dict[str, object]:
    message = world.mail.messages.get(str(document["msgid"]))
    if message is None:
        raise clicks.ImpossibleAction("no such card")
    answers = document.get("selected", {})
    if not isinstance(answers, dict):
        raise ValueError("selected must be an object")
    if holder.member is not None and message.corpid == holder.company.corpid and message.agentid == app.agentid:
        selected = {str(key): [str(one) for one in chosen] for key, chosen in answers.items()}
        clicks.press_button(world, holder.company, holder.member, message, str(document["key"]), selected)
    return {}


async def show_article(request: web.Request) -> web.StreamResponse:
    """Show one article of an mpnews message."""
    message, found = _find_article(request)
    values = {
        "article": found,
        "msgid": message.msgid,
        "index": request.match_info["index"],
        "sent_at": read_time(message.sent_at),
        "source": bubbles.check_href(found.get("content_source_url")),
    }
    return render(request, "phone/article.html", values, frames=True)


async def show_article_body(request: web.Request) -> web.StreamResponse:
    """Return the app's HTML, without scripts, forms, cookies or anything from other machines."""
    _, found = _find_article(request)
    headers = {"Content-Security-Policy": _ARTICLE_POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=str(found.get("content", "")), content_type="text/html", headers=headers)


def _find_article(request: web.Request) -> tuple[Message, dict[str, Any]]:
    world, holder = request.app[WORLD], require_holder(request)
    message = world.mail.messages.get(request.match_info["msgid"])
    index = request.match_info["index"]
    articles: Any = message.content.get("articles", []) if message is not None else []
    if message is None or holder.folded not in message.receivers or message.recalled or message.msgtype != "mpnews":
        raise web.HTTPNotFound(text="no such article\n")
    number = read_integer(index)
    if number is None or not 0 <= number < len(articles):
        raise web.HTTPNotFound(text="no such article\n")
    return message, articles[number]


async def show_media(request: web.Request) -> web.StreamResponse:
    """Return a picture or file of a message. Only pictures are shown in the page, because they can do no harm there."""
    world = request.app[WORLD]
    found = world.media.get(request.match_info["media_id"])
    if found is None or world.now() >= found.expires_at:
        raise web.HTTPNotFound(text="no such file\n")
    is_picture = found.content_type in _PICTURES
    disposition = "inline" if is_picture else "attachment"
    headers = {
        "Content-Type": found.content_type if is_picture else "application/octet-stream",
        "Content-Disposition": f"{disposition}; filename*=utf-8''{quote(found.filename, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return web.Response(body=found.body, headers=headers)


def _find_app(request: web.Request, holder: Holder) -> App:
    text = request.match_info["agentid"]
    app = holder.company.apps.get(int(text)) if text.isdecimal() and len(text) < 12 else None
    if app is None:
        raise web.HTTPNotFound(text="no such app\n")
    return app


def _list_messages(world: World, holder: Holder) -> list[Message]:
    return world.mail.inbox(holder.company.corpid, holder.folded) if holder.member else []
