"""message/send, updates and recalls of messages, and messages of group robots."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from wecom_sandbox.api.agent import check_own_agent
from wecom_sandbox.api.call import APP, WARNING, Call, Json, Request, endpoint, open_endpoint, read_array, read_body
from wecom_sandbox.api.media import make_company_media_check, make_media_check, store_file
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http.bodies import Upload, read_media
from wecom_sandbox.http.envelope import Reply, make_success
from wecom_sandbox.http.typed import read_integer
from wecom_sandbox.limits.limits import MINUTE
from wecom_sandbox.messages import content
from wecom_sandbox.messages.inbox import CardView, Message, ResponseCode, make_id
from wecom_sandbox.state.directory import Tag, fold_id
from wecom_sandbox.state.world import App, Company, Robot, World

_ALL_TYPES = content.TYPES | {"template_card"}
USERS_MOST, PARTIES_MOST, TAGS_MOST = 1000, 100, 100
_DUPLICATE_DEFAULT_SECONDS, _DUPLICATE_MOST_SECONDS = 1800, 14_400


@dataclass(slots=True)
class Recipients:
    """Recipients of a message: folded userids, each once, and the unknown or forbidden parts of the request.
    `any_valid`: something in the request is valid. A department of the scope is valid even without members."""

    users: dict[str, None] = field(default_factory=dict)
    any_valid: bool = False
    invaliduser: dict[str, None] = field(default_factory=dict)
    invalidparty: list[str] = field(default_factory=list)
    invalidtag: list[str] = field(default_factory=list)
    unlicenseduser: dict[str, None] = field(default_factory=dict)

    def as_fields(self) -> Json:
        unlicensed: Json = {"unlicenseduser": "|".join(self.unlicenseduser)} if self.unlicenseduser else {}
        return unlicensed | {
            "invaliduser": "|".join(self.invaliduser),
            "invalidparty": "|".join(self.invalidparty),
            "invalidtag": "|".join(self.invalidtag),
        }


@endpoint("POST", "message/send", APP, counted=False)
def message_send(call: Call) -> Json:
    msgtype = call.text("msgtype", missing=40008)
    safe = call.number("safe")
    interval = _read_duplicate_interval(call)
    call.flag("enable_id_trans")  # checked, but not used
    shown_content = _read_content(call, msgtype, safe)
    app = check_own_agent(call, call.document.get("agentid"))
    if msgtype == "miniprogram_notice" and shown_content["appid"] != app.mini_program_appid:
        raise ApiError(48002)
    recipients = _find_recipients(call, app)
    if not recipients.any_valid:
        raise ApiError(81013, fields={name: value for name, value in recipients.as_fields().items() if value})
    mail, corpid, body = call.world.mail, call.company.corpid, call.request.body
    if interval and mail.is_duplicate(corpid, app.agentid, body, now=call.now):
        return {}
    # Checked after the duplicates: a card that is sent again because its answer was lost is not a second card.
    task_id = shown_content.get("task_id") if msgtype == "template_card" else None
    if task_id and (corpid, app.agentid, task_id) in mail.task_ids:
        raise ApiError(42014)
    message = Message("", corpid, app.agentid, msgtype, shown_content, call.now, safe)
    answer = _accept_message(call, app, message, recipients)
    if interval:
        mail.remember(corpid, app.agentid, body, seconds=interval, now=call.now)
    return answer


def _accept_message(call: Call, app: App, message: Message, recipients: Recipients) -> Json:
    """Deliver the message and build the answer. WeCom silently drops messages to members who got too many."""
    world, corpid = call.world, call.company.corpid
    budget = call.company.account_limit * world.settings.daily_messages_per_account
    world.limits.check_daily(corpid, app.agentid, people=len(recipients.users), limit=budget, now=call.now)
    admitted: list[str] = []
    dropped: list[str] = []
    for folded in recipients.users:
        is_admitted = world.limits.admit_message(corpid, app.agentid, folded, now=call.now)
        (admitted if is_admitted else dropped).append(folded)
    message.msgid = make_id("sim-msg")
    message.receivers, message.dropped = tuple(admitted), tuple(dropped)
    world.mail.deliver(message)
    for folded in admitted:
        world.notify_watchers(corpid, folded)
    answer = {**recipients.as_fields(), "msgid": message.msgid}
    if message.msgtype == "template_card":
        world.mail.task_ids.add((corpid, app.agentid, str(message.content.get("task_id", ""))))
        if content.is_callback_card(message.content):
            answer["response_code"] = world.mail.new_response_code(message, now=call.now)
    return answer


def _read_content(call: Call, msgtype: str, safe: int) -> Json:
    part = content.read_object(call.document, msgtype, missing=40008 if msgtype not in _ALL_TYPES else 40063)
    media = make_media_check(call)
    if msgtype == "template_card":
        if safe:
            raise content.make_invalid_error("safe")
        return content.check_card(part, media=media, is_member=call.company.has_member)
    return content.read_content(msgtype, part, safe=safe, media=media)


def _read_duplicate_interval(call: Call) -> int:
    """Return the seconds within which identical JSON is not delivered again; 0 if not asked for. WeCom's page 90236
    names 0 and 1 for the flag, and four hours at most. An interval out of range is refused even if unused. The code of
    the refusal is not documented: 40058 is assumed."""
    seconds = call.number("duplicate_check_interval", _DUPLICATE_DEFAULT_SECONDS)
    if not 0 <= seconds <= _DUPLICATE_MOST_SECONDS:
        raise content.make_invalid_error("duplicate_check_interval")
    return seconds if call.flag("enable_duplicate_check") else 0


def _find_recipients(call: Call, app: App) -> Recipients:
    """Return the union of users, departments with all below, and tags. Raise ApiError 82001, 40032, 82002 or 82003."""
    users, parties, tags = (_split_ids(call.text(name)) for name in ("touser", "toparty", "totag"))
    if not users and not parties and not tags:
        raise ApiError(82001)
    found = Recipients()
    if users == ["@all"]:
        visible = call.company.visibility(app)
        found.any_valid = bool(visible.departments or visible.singles)
        _add_departments(call, app, found, visible.departments)
        _add_users(call, app, Recipients(users=found.users), list(visible.singles))  # reports nobody as invalid
        return found
    if len(users) > USERS_MOST:
        raise ApiError(40032)
    if len(parties) > PARTIES_MOST:
        raise ApiError(82002)
    if len(tags) > TAGS_MOST:
        raise ApiError(82003)
    _add_users(call, app, found, users)
    _add_parties(call, app, found, parties)
    _add_tags(call, app, found, tags)
    return found


def _split_ids(joined: str) -> list[str]:
    return [part for part in (piece.strip() for piece in joined.split("|")) if part]


def _add_users(call: Call, app: App, found: Recipients, userids: list[str]) -> None:
    members, company = call.company.directory.members, call.company
    for userid in userids:
        folded = fold_id(userid)
        member = members.get(folded)
        if member is not None and company.app_reaches(app, member):
            found.any_valid = True
            if member.unlicensed:
                found.unlicenseduser[folded] = None
            else:
                found.users[folded] = None
        else:
            found.invaliduser[folded] = None


def _add_departments(call: Call, app: App, found: Recipients, numbers: frozenset[int] | set[int]) -> None:
    for member in call.company.directory.members_below(sorted(numbers)):
        if call.company.app_reaches(app, member) and not member.unlicensed:
            found.any_valid = True
            found.users[member.folded] = None


def _add_parties(call: Call, app: App, found: Recipients, parties: list[str]) -> None:
    visible = call.company.visibility(app).departments
    below: set[int] = set()
    for party in parties:
        number = read_integer(party)
        if number is None or number not in visible:
            found.invalidparty.append(party)
        elif number not in below:
            below |= call.company.directory.subtree(number)
    found.any_valid = found.any_valid or bool(below)
    _add_departments(call, app, found, below)


def _add_tags(call: Call, app: App, found: Recipients, tags: list[str]) -> None:
    for name in dict.fromkeys(tags):
        number = read_integer(name)
        tag = None if number is None else call.company.directory.tags.get(number)
        if tag is None or not _add_tag(call, app, found, tag):
            found.invalidtag.append(name)
        else:
            found.any_valid = True


def _add_tag(call: Call, app: App, found: Recipients, tag: Tag) -> bool:
    """Add a tag's people. Return False if it is not permitted: it has people or departments, but none in the scope."""
    directory, visible = call.company.directory, call.company.visibility(app)
    people = [userid for userid in tag.userids if directory.find(userid) is not None]
    below = {number for party in tag.partyids for number in directory.subtree(party)}
    reached = Recipients(users=found.users)  # adds to the same users, but reports nobody as invalid
    _add_users(call, app, reached, people)
    _add_departments(call, app, reached, below)
    is_in_scope = tag.tagid in app.scope.tagids or bool(below & visible.departments)
    return reached.any_valid or is_in_scope or not (people or below)


@endpoint("POST", "message/update_template_card", APP)
def update_template_card(call: Call) -> Json:
    """Grey the buttons out and show a text on them, or replace the card. Each response_code allows one call."""
    button, card = content.read_object(call.document, "button"), content.read_object(call.document, "template_card")
    if bool(button) == bool(card):
        raise content.make_invalid_error("one of button and template_card")
    call.flag("enable_id_trans")  # checked, but not used
    code = _find_response_code(call)
    targets, invalid = _find_targets(call, code.message.receivers)
    replace_name = ""
    if button:
        if code.message.content.get("card_type") not in content.INTERACTIVE:
            raise content.make_invalid_error("button")
        replace_name = content.read_text(button, "replace_name", missing=42038)
    else:
        content.check_card(card, media=make_media_check(call), is_member=call.company.has_member, is_update=True)
    code.used = True
    for folded in targets:
        if card:
            code.message.views[folded] = CardView(card)
        else:
            # The person's choice and click stay visible under the greyed buttons.
            code.message.views.setdefault(folded, CardView()).replace_name = replace_name
        call.world.notify_watchers(call.company.corpid, folded)
    return {"invaliduser": invalid}


@endpoint("POST", "message/recall", APP)
def message_recall(call: Call) -> Json:
    """Recall a message that this app sent in the last 24 hours, but not to a group chat."""
    message = call.world.mail.messages.get(call.text("msgid", missing=40058))
    own_ids = (call.company.corpid, call.own_app.agentid)
    if message is None or (message.corpid, message.agentid) != own_ids or message.chatid or message.sender:
        raise ApiError(40058)
    if call.now - message.sent_at > call.world.settings.recall_seconds:
        raise ApiError(42052)
    message.recalled = True
    for folded in message.receivers:
        call.world.notify_watchers(call.company.corpid, folded)
    return {}


def _find_response_code(call: Call) -> ResponseCode:
    """Return the code. Raise ApiError 60140 (unknown, used, expired) or 42015 (card or agentid of another app)."""
    try:
        agentid = check_own_agent(call, call.document.get("agentid")).agentid
    except ApiError as error:
        raise ApiError(42015) if error.code == 301002 else error from error
    code = call.world.mail.response_codes.get(call.text("response_code", missing=60140))
    if code is None or code.message.corpid != call.company.corpid:
        raise ApiError(60140)
    if code.message.agentid != agentid:
        raise ApiError(42015)
    if code.used or call.now >= code.expires_at:
        raise ApiError(60140)
    return code


def _find_targets(call: Call, receivers: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the receivers to update, and the userids without the card (both folded). Raise ApiError 82101 or 82102."""
    if call.flag("atall"):
        return list(receivers), []
    directory, document = call.company.directory, call.document
    userids = read_array(document.get("userids"), "userids", str, most=USERS_MOST, too_many=40032)
    parties = read_array(document.get("partyids"), "partyids", int, most=PARTIES_MOST, too_many=82002)
    tagids = read_array(document.get("tagids"), "tagids", int, most=TAGS_MOST, too_many=82003)
    userids = [fold_id(one) for one in userids]
    if not userids and not parties and not tagids:
        raise ApiError(82101)
    tags = [directory.tags[number] for number in tagids if number in directory.tags]
    parties += [number for tag in tags for number in tag.partyids]
    below = {number for one in parties for number in directory.subtree(one)}
    tagged = [fold_id(one) for tag in tags for one in tag.userids]
    people = [member.folded for member in directory.members_below(sorted(below))]
    receiver_set = set(receivers)
    targets = [one for one in dict.fromkeys([*userids, *tagged, *people]) if one in receiver_set]
    if not targets:
        raise ApiError(82102)
    return targets, [one for one in dict.fromkeys(userids) if one not in receiver_set]


# Limits of a robot's messages.
_TEXT_BYTES, _MARKDOWN_BYTES, _PICTURE_BYTES = 2048, 4096, 2 * 1024 * 1024
_ROBOT_CARDS = ("text_notice", "news_notice")


@open_endpoint(("POST",), "webhook/send")
def webhook_send(world: World, request: Request, now: float) -> Json | Reply:
    company, robot = _find_robot(world, request)
    limit = world.settings.robot_per_minute
    world.limits.check_special("robot", robot.key, seconds=MINUTE, limit=limit, now=now)
    document, clean = read_body(request.body)
    msgtype = content.read_text(document, "msgtype", missing=40008)
    part = content.read_object(document, msgtype, missing=40008)
    shown_content = _read_robot_content(world, company, msgtype, part)
    kind = "markdown" if msgtype == "markdown_v2" else msgtype
    message = Message(make_id("sim-robot"), company.corpid, None, kind, shown_content, now, robot=robot.key)
    world.mail.deliver_to_group(message)
    world.notify_all_watchers(company.corpid)
    return make_success({}, warning="" if clean else WARNING)


@open_endpoint(("POST",), "webhook/upload_media")
def webhook_upload_media(world: World, request: Request, now: float) -> Json:
    company, _ = _find_robot(world, request)
    kind = request.query.get("type", "")
    if kind not in ("file", "voice"):
        raise ApiError(40005)
    media = store_file(world, company.corpid, kind, read_media(request.content_type, request.body))
    return {"type": kind, "media_id": media.media_id, "created_at": str(int(now))}


def _find_robot(world: World, request: Request) -> tuple[Company, Robot]:
    key = request.query.get("key", "")
    for company in world.companies.values():
        robot = company.robots.get(key)
        if robot is not None:
            if robot.disabled:
                raise ApiError(93004)
            return company, robot
    raise ApiError(93000)


def _read_robot_content(world: World, company: Company, msgtype: str, part: Json) -> Json:
    media = make_company_media_check(world, company.corpid)
    if msgtype == "text":
        return {"content": _read_limited_text(part, _TEXT_BYTES, "text.content"), **content.read_mentions(part)}
    if msgtype in ("markdown", "markdown_v2"):
        return {"content": _read_limited_text(part, _MARKDOWN_BYTES, f"{msgtype}.content")}
    if msgtype == "image":
        return _store_picture(world, company, part)
    if msgtype == "template_card":
        card = content.check_card(part, media=media, is_member=company.has_member)
        if card["card_type"] not in _ROBOT_CARDS:
            raise ApiError(42031)
        return card
    if msgtype not in ("news", "file", "voice"):
        raise ApiError(40008)
    return content.read_content(msgtype, part, safe=0, media=media)


def _read_limited_text(part: Json, most: int, name: str) -> str:
    text = content.read_text(part, "content", missing=44004)
    if len(text.encode()) > most:
        raise ApiError(40058, f"{name} exceed max length {most}. invalid Request Parameter")
    return text


def _store_picture(world: World, company: Company, part: Json) -> Json:
    try:
        body = base64.b64decode(content.read_text(part, "base64", missing=40063), validate=True)
    except binascii.Error as error:
        raise content.make_invalid_error("base64") from error
    if hashlib.md5(body, usedforsecurity=False).hexdigest() != content.read_text(part, "md5", missing=40063):
        raise content.make_invalid_error("md5")
    if len(body) > _PICTURE_BYTES:
        raise ApiError(40009)
    media = store_file(world, company.corpid, "image", Upload("image", "image/png", body))
    return {"media_id": media.media_id, "filename": media.filename}
