"""Around a member's account: deleting many, WeChat's openid, the company's own check, joining, who is active."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, endpoint, texts
from wecom_sandbox.api.contacts import query_int, sees
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import fields
from wecom_sandbox.messages.inbox import china_day
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import ACTIVE, NOT_ACTIVATED, Member

_DELETED_MOST = 200
_STATISTICS_DAYS = 30


@endpoint("POST", "user/batchdelete", CONTACTS)
def user_batchdelete(call: Call) -> Json:
    """All or none: one unknown id refuses the whole list (40031). Page 90199."""
    userids = texts(call.document.get("useridlist"), "useridlist", most=_DELETED_MOST, too_many=40032)
    if not userids:
        raise ApiError(40031)
    members = {member.folded: member for userid in userids if (member := call.company.directory.find(userid))}
    if not all(call.company.has_member(userid) for userid in userids):
        raise ApiError(40031)
    administration.remove_members(call.world, call.company, list(members), tell_contacts=False)
    return {"errmsg": "deleted"}


@endpoint("POST", "user/convert_to_openid", APP, CONTACTS)
def user_convert_to_openid(call: Call) -> Json:
    """The member's openid of WeChat; 43004 for one who has not entered yet. Page 90202."""
    member = _visible(call, call.text("userid", missing=41009))
    if member.status == NOT_ACTIVATED:
        raise ApiError(43004)
    if not member.openid:
        member.openid = f"o{secrets.token_hex(13)}0"
    return {"openid": member.openid}


@endpoint("POST", "user/convert_to_userid", APP, CONTACTS)
def user_convert_to_userid(call: Call) -> Json:
    """The other way round; 40073 for an openid that was never given."""
    openid = call.text("openid", missing=40063)
    for member in call.company.directory.members.values():
        if member.openid == openid:
            return {"userid": _visible(call, member.userid).userid}
    raise ApiError(40073)


@endpoint("GET", "user/authsucc", CONTACTS)
def user_authsucc(call: Call) -> Json:
    """The company's own check at the first sign-in was passed: the member enters. Page 90203."""
    member = _visible(call, call.query.get("userid", ""))
    if member.status == NOT_ACTIVATED:
        row = {"userid": member.userid, "status": ACTIVE}
        administration.put_members(call.world, call.company, [row], tell_contacts=False)
    return {}


@endpoint("GET", "corp/get_join_qrcode", CONTACTS)
def corp_get_join_qrcode(call: Call) -> Json:
    """`size_type` 1 to 4: the picture's size. Page 91714."""
    size = query_int(call, "size_type", 40058) if call.query.get("size_type") else 1
    if size not in (1, 2, 3, 4):
        raise fields.invalid("size_type")
    url = f"https://work.weixin.qq.com/wework_admin/genqrcode?action=join&vcode=sandbox-{call.company.corpid}"
    return {"join_qrcode": f"{url}&qr_size={size}"}


@endpoint("POST", "user/get_active_stat", CONTACTS)
def user_get_active_stat(call: Call) -> Json:
    """Members who are active: the sandbox has no days apart. `date`: YYYY-MM-DD, of the last 30 days. Page 92714."""
    try:
        day = datetime.strptime(call.text("date", missing=40058), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise fields.invalid("date") from error
    if not 0 <= china_day(call.now) - int(day.timestamp()) // 86_400 <= _STATISTICS_DAYS:
        raise fields.invalid("date")
    return {"active_cnt": sum(one.status == ACTIVE for one in call.company.directory.members.values())}


def _visible(call: Call, userid: str) -> Member:
    """Raises ApiError 41009, 60111 or 60011."""
    if not userid:
        raise ApiError(41009)
    member = call.company.directory.find(userid)
    if member is None:
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    if not sees(call, member):
        raise ApiError(60011)
    return member
