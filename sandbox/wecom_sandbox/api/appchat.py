"""Group chats that an app creates and writes to."""

from __future__ import annotations

import re
import secrets

from wecom_sandbox.api.call import APP, Call, Json, endpoint, read_array
from wecom_sandbox.api.media import make_media_check
from wecom_sandbox.errors import ApiError
from wecom_sandbox.limits.limits import DAY, HOUR
from wecom_sandbox.messages import content
from wecom_sandbox.messages.inbox import Message, make_id
from wecom_sandbox.state.directory import ROOT_DEPARTMENT, fold_id
from wecom_sandbox.state.world import Chat

_CHATID = re.compile(r"[0-9A-Za-z]+")
_LEAST, _MOST = 2, 2000  # members of a chat
_CREATED_PER_DAY, _CHANGED_PER_HOUR = 1000, 1000
_TYPES = content.TYPES - {"miniprogram_notice"}


@endpoint("POST", "appchat/create", APP)
def appchat_create(call: Call) -> Json:
    _check_right(call)
    _count_call(call, "appchat/create", DAY, _CREATED_PER_DAY)
    name = content.read_text(call.document, "name")
    if len(name) > 50:
        raise content.make_invalid_error("name")
    members = _find_members(call, call.document.get("userlist"), "userlist", 86007)
    _check_size(members)
    owner = fold_id(content.read_text(call.document, "owner")) or next(iter(members))
    if owner not in members:
        raise ApiError(86207)
    chatid = _read_new_chatid(call)
    corpid, agentid = call.company.corpid, call.own_app.agentid
    call.world.store_chat(Chat(chatid, corpid, agentid, name or "群聊", owner, members))
    return {"chatid": chatid}


@endpoint("POST", "appchat/update", APP)
def appchat_update(call: Call) -> Json:
    _check_right(call)
    chat = _find_chat(call, content.read_text(call.document, "chatid"))
    _count_call(call, "appchat/update", HOUR, _CHANGED_PER_HOUR)
    name = content.read_text(call.document, "name")
    if len(name) > 50:
        raise content.make_invalid_error("name")
    added = _find_members(call, call.document.get("add_user_list"), "add_user_list", 86216)
    removed = {fold_id(one) for one in read_array(call.document.get("del_user_list"), "del_user_list", str, most=_MOST)}
    members = {folded: None for folded in chat.members | added if folded not in removed}
    _check_size(members)
    default_owner = chat.owner if chat.owner in members else next(iter(members))
    owner = fold_id(content.read_text(call.document, "owner")) or default_owner
    if owner not in members:
        raise ApiError(86207)
    chat.name, chat.owner, chat.members = name or chat.name, owner, members
    return {}


@endpoint("GET", "appchat/get", APP)
def appchat_get(call: Call) -> Json:
    _check_right(call)
    chat = _find_chat(call, call.query.get("chatid", ""))
    members = call.company.directory.members
    userids = [members[folded].userid for folded in chat.members if folded in members]
    owner = call.company.directory.find(chat.owner)
    info = {"chatid": chat.chatid, "name": chat.name, "owner": owner.userid if owner else "", "userlist": userids}
    return {"chat_info": info}


@endpoint("POST", "appchat/send", APP)
def appchat_send(call: Call) -> Json:
    """Send a message to a group. Messages above a member's limit are dropped silently."""
    _check_right(call)
    chat = _find_chat(call, content.read_text(call.document, "chatid"))
    msgtype, safe = call.text("msgtype", missing=40008), call.number("safe")
    if msgtype not in _TYPES:
        raise ApiError(40008)
    part = content.read_object(call.document, msgtype, missing=40063)
    shown_content = content.read_content(msgtype, part, safe=safe, media=make_media_check(call))
    people = [one for one in chat.members if one in call.company.directory.members]
    corpid, agentid, limits = call.company.corpid, call.own_app.agentid, call.world.limits
    limits.check_group(corpid, people=len(people), now=call.now)
    admitted = {one: None for one in people if limits.admit_group_message(corpid, agentid, one, now=call.now)}
    message = Message(make_id("sim-msg"), corpid, agentid, msgtype, shown_content, call.now, safe, chat.chatid)
    message.receivers, message.dropped = tuple(admitted), tuple(one for one in people if one not in admitted)
    call.world.mail.deliver(message)
    for folded in admitted:
        call.world.notify_watchers(corpid, folded)
    return {}


def _check_right(call: Call) -> None:
    """Raise ApiError 48002 for an app that does not see the root department."""
    if ROOT_DEPARTMENT not in call.company.visibility(call.own_app).departments:
        raise ApiError(48002)


def _count_call(call: Call, name: str, seconds: int, limit: int) -> None:
    call.world.limits.check_special(name, call.company.corpid, seconds=seconds, limit=limit, now=call.now)


def _find_chat(call: Call, chatid: str) -> Chat:
    if not chatid:
        raise ApiError(86001)
    chat = call.world.chats.get(chatid)
    if chat is None or chat.corpid != call.company.corpid:
        raise ApiError(86003)
    if chat.agentid != call.own_app.agentid:
        raise ApiError(86008)
    return chat


def _read_new_chatid(call: Call) -> str:
    chatid = content.read_text(call.document, "chatid")
    if not chatid:
        return secrets.token_hex(16)
    if len(chatid) > 32:
        raise ApiError(86205)
    if not _CHATID.fullmatch(chatid):
        raise ApiError(86001)
    if chatid in call.world.chats:
        raise ApiError(86215)
    return chatid


def _find_members(call: Call, value: object, name: str, errcode: int) -> dict[str, None]:
    """Return the folded userids of members that the app may write to. Raise ApiError `errcode` for any other."""
    found: dict[str, None] = {}
    for userid in read_array(value, name, str, most=_MOST, too_many=86006):
        member = call.company.directory.find(userid)
        if member is None or not call.company.app_reaches(call.own_app, member):
            raise ApiError(errcode)
        found[member.folded] = None
    return found


def _check_size(members: dict[str, None]) -> None:
    if len(members) < _LEAST:
        raise ApiError(86204)
    if len(members) > _MOST:
        raise ApiError(86006)
