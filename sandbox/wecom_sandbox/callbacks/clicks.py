"""Actions of members on their phone, the events that they send to the app's callback, and its replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import bodies, typed
from wecom_sandbox.messages import content
from wecom_sandbox.messages.inbox import CardView, Message, make_id
from wecom_sandbox.state import events
from wecom_sandbox.state.directory import Member

if TYPE_CHECKING:
    from wecom_sandbox.state.world import App, Company, World

_TEXT_BYTES = 2048


class ImpossibleAction(Exception):
    """An action that the phone does not offer."""


def find_shown_card(message: Message, folded: str) -> dict[str, Any]:
    """Return the card as this person sees it now."""
    view = message.views.get(folded)
    return dict(view.card if view is not None and view.card is not None else message.content)


def press_button(
    world: World, company: Company, member: Member, message: Message, key: str, selected: Mapping[str, list[str]]
) -> None:
    """Press a button, the submit button or an entry of the card's menu. Raise ImpossibleAction."""
    card = find_shown_card(message, member.folded)
    view = message.views.get(member.folded)
    if message.msgtype != "template_card" or message.recalled or member.folded not in message.receivers:
        raise ImpossibleAction("no such card")
    app = company.apps.get(message.agentid or 0)
    if app is None:
        raise ImpossibleAction("no such app")
    is_menu = key in content.list_menu_keys(card)
    if not is_menu:
        if key not in content.list_button_keys(card) or (view is not None and _is_greyed(view, card)):
            raise ImpossibleAction("no such button")
        _check_selected(card, selected)
        message.views[member.folded] = CardView(view.card if view else None, "", dict(selected), key)
    _send_click_event(world, company, app, member, message, card, key, selected, is_menu=is_menu)
    world.notify_watchers(company.corpid, member.folded)


def _is_greyed(view: CardView, card: Mapping[str, Any]) -> bool:
    return bool(view.replace_name or card.get("replace_text"))


def _check_selected(card: dict[str, Any], selected: Mapping[str, list[str]]) -> None:
    questions = content.list_questions(card)
    for question, chosen in selected.items():
        options, allows_several = questions.get(question, (set(), False))
        if not set(chosen) <= options or (len(chosen) > 1 and not allows_several):
            raise ImpossibleAction("no such option")


def _send_click_event(
    world: World,
    company: Company,
    app: App,
    member: Member,
    message: Message,
    card: Mapping[str, Any],
    key: str,
    selected: Mapping[str, list[str]],
    *,
    is_menu: bool,
) -> None:
    """Send the event with a new response_code. The app's answer to it (passive reply) changes this person's card."""
    now = world.now()
    name = "template_card_menu_event" if is_menu else "template_card_event"
    elements: dict[str, object] = {
        "EventKey": key,
        # A replacement card without its own task_id belongs to the same task.
        "TaskId": card.get("task_id") or message.content.get("task_id", ""),
        "CardType": card.get("card_type", ""),
        "ResponseCode": world.mail.new_response_code(message, now=now, folded=member.folded),
    }
    if selected:
        items = [{"QuestionKey": question, "OptionIds": {"OptionId": list(ids)}} for question, ids in selected.items()]
        elements["SelectedItems"] = {"SelectedItem": items}
    event = events.make_event(company.corpid, app.agentid, name, now=now, userid=member.userid, **elements)
    send_event(world, company, app, event, lambda reply: _apply_click_reply(world, company, member, message, reply))


def send_event(world: World, company: Company, app: App, elements: Mapping[str, object], on_reply: Any = None) -> None:
    """Queue an event for an app if it has a callback address."""
    if app.callback.url:
        world.outbox.add(events.Outgoing(company.corpid, app.agentid, elements, on_reply))


def _apply_click_reply(world: World, company: Company, member: Member, message: Message, reply: Element) -> None:
    kind = (reply.findtext("MsgType") or "").strip()
    view = message.views.get(member.folded) or CardView()
    if kind == "update_button":
        view.replace_name = (reply.findtext("Button/ReplaceName") or "").strip()
    elif kind == "update_template_card":
        card = reply.find("TemplateCard")
        if card is None:
            raise ValueError("TemplateCard is missing")
        replace_card(view, bodies.convert_card(card), company)
    else:
        receive_reply(world, company, message.agentid or 0, member, reply)
        return
    message.views[member.folded] = view
    world.notify_watchers(company.corpid, member.folded)


def replace_card(view: CardView, card: dict[str, object], company: Company) -> None:
    """Replace the card that this view shows. Raise ValueError for a card that WeCom would refuse."""
    typed.check_depth(card, "TemplateCard")
    try:
        view.card = content.check_card(
            card, media=lambda media_id, kind: media_id, is_member=company.has_member, is_update=True
        )
    except ApiError as error:
        raise ValueError(f"{error.code} {error.text}") from error
    view.replace_name, view.clicked_key, view.selected = "", "", {}


def receive_reply(world: World, company: Company, agentid: int, member: Member, reply: Element) -> None:
    """Deliver a passive reply that is a message: text, image, voice, video, news."""
    kind = (reply.findtext("MsgType") or "").strip()
    if kind == "text":
        fields: dict[str, object] = {
            "content": (reply.findtext("Content") or "").encode()[:_TEXT_BYTES].decode(errors="replace")
        }
    elif kind in ("image", "voice", "video"):
        media_id = (reply.findtext(f"{kind.capitalize()}/MediaId") or "").strip()
        media = world.media.get(media_id)
        fields = {"media_id": media_id, "filename": media.filename if media else ""}
    elif kind == "news":
        names = {"title": "Title", "description": "Description", "picurl": "PicUrl", "url": "Url"}
        items = reply.findall("Articles/item")[:8]
        fields = {"articles": [{name: item.findtext(tag) or "" for name, tag in names.items()} for item in items]}
    else:
        raise ValueError(f"MsgType {kind!r} is not a passive reply")
    message = Message(
        make_id("sim-msg"), company.corpid, agentid, kind, fields, world.now(), receivers=(member.folded,)
    )
    world.mail.deliver(message)
    world.notify_watchers(company.corpid, member.folded)


def write_text(world: World, company: Company, app: App, member: Member, text: str) -> None:
    """Deliver a text from the member to the app."""
    now = world.now()
    message = Message(make_id("sim-in"), company.corpid, app.agentid, "text", {"content": text}, now)
    message.sender, message.receivers = member.folded, (member.folded,)
    world.mail.deliver(message)
    event = events.make_user_message(company.corpid, app.agentid, "text", now=now, userid=member.userid, Content=text)
    send_event(world, company, app, event, _make_reply_receiver(world, company, app, member))
    world.notify_watchers(company.corpid, member.folded)


def press_menu(world: World, company: Company, app: App, member: Member, path: list[int]) -> str:
    """Press an entry of the app's menu. `path`: its position, or its parent's and its own. Return its URL, or ""."""
    entry = _find_menu_entry(app, path)
    kind, now = str(entry.get("type")), world.now()
    elements: dict[str, object] = {"EventKey": entry.get("url") if kind == "view" else entry.get("key", "")}
    if kind == "view_miniprogram":
        elements = {"EventKey": entry.get("pagepath", ""), "AppId": entry.get("appid", "")}
    event = events.make_event(company.corpid, app.agentid, kind, now=now, userid=member.userid, **elements)
    send_event(world, company, app, event, _make_reply_receiver(world, company, app, member))
    return str(entry.get("url", "")) if kind == "view" else ""


def _find_menu_entry(app: App, path: list[int]) -> dict[str, Any]:
    rows: Any = (app.menu or {}).get("button", [])
    entry: dict[str, Any] = {}
    for index in path:
        if not 0 <= index < len(rows):
            raise ImpossibleAction("no such menu entry")
        entry = rows[index]
        rows = entry.get("sub_button") or []
    if rows or not entry:
        raise ImpossibleAction("no such menu entry")
    return entry


def open_conversation(world: World, company: Company, app: App, member: Member) -> None:
    """Open the app's conversation. An event is sent only if the app asked for it."""
    if app.isreportenter:
        event = events.make_event(
            company.corpid, app.agentid, "enter_agent", now=world.now(), userid=member.userid, EventKey=""
        )
        send_event(world, company, app, event, _make_reply_receiver(world, company, app, member))


def _make_reply_receiver(world: World, company: Company, app: App, member: Member) -> Any:
    return lambda reply: receive_reply(world, company, app.agentid, member, reply)
