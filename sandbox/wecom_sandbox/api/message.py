"""message/send: who gets it, who does not, and what the caller is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from wecom_sandbox.api.agent import own_agent
from wecom_sandbox.api.call import APP, Call, Json, endpoint
from wecom_sandbox.api.media import media_check
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http.digits import read_integer
from wecom_sandbox.messages import cards, content, fields
from wecom_sandbox.messages.inbox import Message, new_id
from wecom_sandbox.state.directory import Tag, fold
from wecom_sandbox.state.world import App

_ALL_TYPES = content.TYPES | {"template_card"}
USERS_MOST, PARTIES_MOST, TAGS_MOST = 1000, 100, 100
_DUPLICATE_DEFAULT_SECONDS, _DUPLICATE_MOST_SECONDS = 1800, 14_400


@dataclass(slots=True)
class Recipients:
    """Folded userids, each once, and what of the request is unknown or not permitted.

    `any_valid`: something of it is; a department of the scope is even where nobody stands in it.
    """

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
    interval = _duplicate_interval(call)
    call.flag("enable_id_trans")
    shown = _read_content(call, msgtype, safe)
    app = own_agent(call, call.document.get("agentid"))
    if msgtype == "miniprogram_notice" and shown["appid"] != app.mini_program_appid:
        raise ApiError(48002)
    recipients = _recipients(call, app)
    if not recipients.any_valid:
        raise ApiError(81013, fields={name: value for name, value in recipients.as_fields().items() if value})
    mail, corpid, body = call.world.mail, call.company.corpid, call.request.body
    if interval and mail.is_duplicate(corpid, app.agentid, body, now=call.now):
        return {}
    # After the duplicate check: a card that is sent again because its answer was lost is no second card.
    task_id = shown.get("task_id") if msgtype == "template_card" else None
    if task_id and (corpid, app.agentid, task_id) in mail.task_ids:
        raise ApiError(42014)
    answer = _accept(call, app, Message("", corpid, app.agentid, msgtype, shown, call.now, safe), recipients)
    if interval:
        mail.remember(corpid, app.agentid, body, seconds=interval, now=call.now)
    return answer


def _accept(call: Call, app: App, message: Message, recipients: Recipients) -> Json:
    """Deliver, except to those who had too much: WeCom drops that without a word."""
    world, corpid = call.world, call.company.corpid
    budget = call.company.account_limit * world.settings.daily_messages_per_account
    world.limits.check_daily(corpid, app.agentid, people=len(recipients.users), limit=budget, now=call.now)
    admitted: list[str] = []
    dropped: list[str] = []
    for folded in recipients.users:
        fits = world.limits.admits_message(corpid, app.agentid, folded, now=call.now)
        (admitted if fits else dropped).append(folded)
    message.msgid = new_id("sim-msg")
    message.receivers, message.dropped = tuple(admitted), tuple(dropped)
    world.mail.deliver(message)
    for folded in admitted:
        world.changed(corpid, folded)
    answer = {**recipients.as_fields(), "msgid": message.msgid}
    if message.msgtype == "template_card":
        world.mail.task_ids.add((corpid, app.agentid, str(message.content.get("task_id", ""))))
        if cards.is_callback_card(message.content):
            answer["response_code"] = world.mail.new_response_code(message, now=call.now)
    return answer


def _read_content(call: Call, msgtype: str, safe: int) -> Json:
    part = fields.child(call.document, msgtype, missing=40008 if msgtype not in _ALL_TYPES else 40063)
    media = media_check(call)
    if msgtype == "template_card":
        if safe:
            raise fields.invalid("safe")
        return cards.check(part, media=media, is_member=call.company.has_member)
    return content.read(msgtype, part, safe=safe, media=media)


def _duplicate_interval(call: Call) -> int:
    """Seconds within which the identical JSON is not delivered again; 0: not asked for.

    The page (90236) names 0 and 1, and four hours at most; an interval out of range is refused even where it is not
    used. What WeCom answers is not documented: 40058 is assumed.
    """
    seconds = call.number("duplicate_check_interval", _DUPLICATE_DEFAULT_SECONDS)
    if not 0 <= seconds <= _DUPLICATE_MOST_SECONDS:
        raise fields.invalid("duplicate_check_interval")
    return seconds if call.flag("enable_duplicate_check") else 0


def _recipients(call: Call, app: App) -> Recipients:
    """The union of users, departments with all below, and tags. Raises ApiError 82001, 40032, 82002 or 82003."""
    users, parties, tags = (_split(call.text(name)) for name in ("touser", "toparty", "totag"))
    if not users and not parties and not tags:
        raise ApiError(82001)
    found = Recipients()
    if users == ["@all"]:
        visible = call.company.visibility(app)
        found.any_valid = bool(visible.departments or visible.singles)
        _add_departments(call, app, found, visible.departments)
        _add_users(call, app, Recipients(users=found.users), list(visible.singles))
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


def _split(joined: str) -> list[str]:
    return [part for part in (piece.strip() for piece in joined.split("|")) if part]


def _add_users(call: Call, app: App, found: Recipients, userids: list[str]) -> None:
    members, company = call.company.directory.members, call.company
    for userid in userids:
        folded = fold(userid)
        member = members.get(folded)
        if member is not None and company.receives(app, member):
            found.any_valid = True
            if member.unlicensed:
                found.unlicenseduser[folded] = None
            else:
                found.users[folded] = None
        else:
            found.invaliduser[folded] = None


def _add_departments(call: Call, app: App, found: Recipients, numbers: frozenset[int] | set[int]) -> None:
    for member in call.company.directory.members_below(sorted(numbers)):
        if call.company.receives(app, member) and not member.unlicensed:
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
    """False for a tag that is not permitted: it holds people or departments, and none of them is in the scope."""
    directory, visible = call.company.directory, call.company.visibility(app)
    people = [userid for userid in tag.userids if directory.find(userid) is not None]
    below = {number for party in tag.partyids for number in directory.subtree(party)}
    mine = Recipients(users=found.users)
    _add_users(call, app, mine, people)
    _add_departments(call, app, mine, below)
    is_in_scope = tag.tagid in app.scope.tagids or bool(below & visible.departments)
    return mine.any_valid or is_in_scope or not (people or below)
