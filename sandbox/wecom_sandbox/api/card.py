"""After a message was sent: updating a card, recalling, counting."""

from __future__ import annotations

from wecom_sandbox.api.agent import own_agent
from wecom_sandbox.api.call import APP, Call, Json, endpoint, numbers, texts
from wecom_sandbox.api.media import media_check
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import cards, fields
from wecom_sandbox.messages.inbox import CardView, ResponseCode, china_day
from wecom_sandbox.state.directory import fold

_USERS_MOST, _OTHERS_MOST = 1000, 100


@endpoint("POST", "message/update_template_card", APP)
def update_template_card(call: Call) -> Json:
    """Grey the buttons with a text (way A), or put another card in place (way B); one call for each response_code."""
    button, card = fields.child(call.document, "button"), fields.child(call.document, "template_card")
    if bool(button) == bool(card):
        raise fields.invalid("one of button and template_card")
    call.flag("enable_id_trans")
    code = _response_code(call)
    targets, invalid = _targets(call, code.message.receivers)
    replace_name = ""
    if button:
        if code.message.content.get("card_type") not in cards.INTERACTIVE:
            raise fields.invalid("button")
        replace_name = fields.text(button, "replace_name", missing=42038)
    else:
        cards.check(card, media=media_check(call), is_member=call.company.has_member, is_update=True)
    code.used = True
    for folded in targets:
        if card:
            code.message.views[folded] = CardView(card)
        else:
            # What the person chose and pressed stays to be seen under the greyed buttons.
            code.message.views.setdefault(folded, CardView()).replace_name = replace_name
        call.world.changed(call.company.corpid, folded)
    return {"invaliduser": invalid}


@endpoint("POST", "message/recall", APP)
def message_recall(call: Call) -> Json:
    """Within 24 hours, by the app that sent it."""
    message = call.world.mail.messages.get(call.text("msgid", missing=40058))
    mine = (call.company.corpid, call.own_app.agentid)
    if message is None or (message.corpid, message.agentid) != mine or message.chatid or message.sender:
        raise ApiError(40058)
    if call.now - message.sent_at > call.world.settings.recall_seconds:
        raise ApiError(42052)
    message.recalled = True
    for folded in message.receivers:
        call.world.changed(call.company.corpid, folded)
    return {}


@endpoint("POST", "message/get_statistics", APP)
def message_get_statistics(call: Call) -> Json:
    """Person-times of today (time_type 0) or yesterday (1)."""
    days_ago = call.number("time_type")
    if days_ago not in (0, 1):
        raise fields.invalid("time_type")
    app = call.own_app
    day = china_day(call.now) - days_ago
    count = call.world.mail.person_times.get((call.company.corpid, app.agentid, day), 0)
    return {"statistics": [{"agentid": app.agentid, "app_name": app.name, "count": count}] if count else []}


def _response_code(call: Call) -> ResponseCode:
    """Raises ApiError 60140 (unknown, used, expired) or 42015 (another app's card, or another app in `agentid`)."""
    try:
        agentid = own_agent(call, call.document.get("agentid")).agentid
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


def _targets(call: Call, receivers: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Receivers to update, and the named userids that are none (in small letters). Raises ApiError 82101 or 82102."""
    if call.flag("atall"):
        return list(receivers), []
    directory, document = call.company.directory, call.document
    userids = [fold(one) for one in texts(document.get("userids"), "userids", most=_USERS_MOST, too_many=40032)]
    parties = numbers(document.get("partyids"), "partyids", most=_OTHERS_MOST, too_many=82002)
    tagids = numbers(document.get("tagids"), "tagids", most=_OTHERS_MOST, too_many=82003)
    if not userids and not parties and not tagids:
        raise ApiError(82101)
    tags = [directory.tags[number] for number in tagids if number in directory.tags]
    parties += [number for tag in tags for number in tag.partyids]
    below = {number for one in parties for number in directory.subtree(one)}
    tagged = [fold(one) for tag in tags for one in tag.userids]
    people = [member.folded for member in directory.members_below(sorted(below))]
    known = set(receivers)
    targets = [one for one in dict.fromkeys([*userids, *tagged, *people]) if one in known]
    if not targets:
        raise ApiError(82102)
    return targets, [one for one in dict.fromkeys(userids) if one not in known]
