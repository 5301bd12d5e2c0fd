"""Changing the directory, as the directory-sync assistant may. WeCom does not call these changes back to it."""

from __future__ import annotations

from wecom_sandbox.api import member_rules
from wecom_sandbox.api.call import CONTACTS, Call, Json, endpoint
from wecom_sandbox.api.contacts import query_int
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import DISABLED, NOT_ACTIVATED, BrokenRule, fold, is_userid

_NAMES = ("userid", "name", "department", "order", "position", "mobile", "gender", "email", "biz_mail", "alias")
_MORE = ("is_leader_in_dept", "direct_leader", "telephone", "address", "main_department", "extattr")
_OUTWARD = ("external_position", "external_profile")


@endpoint("POST", "user/create", CONTACTS)
def user_create(call: Call) -> Json:
    userid = call.text("userid", missing=41009)
    if not is_userid(userid):
        raise ApiError(40003)
    if call.company.directory.find(userid) is not None:
        raise ApiError(60102)
    member_rules.check_new(call)
    _put_member(call, {"status": NOT_ACTIVATED})
    return {"errmsg": "created"}


@endpoint("POST", "user/update", CONTACTS)
def user_update(call: Call) -> Json:
    """Only the fields that are sent change; `new_userid` gives the member another id."""
    userid = call.text("userid", missing=41009)
    old = call.company.directory.find(userid)
    if old is None:
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    member_rules.check_changed(call, old)
    new_userid = member_rules.check_new_userid(call, old)
    _put_member(call, {})
    if new_userid:
        administration.rename_member(call.world, call.company, userid, new_userid, tell_contacts=False)
        call.company.directory.members[fold(new_userid)].has_new_userid = True
    return {"errmsg": "updated"}


@endpoint("GET", "user/delete", CONTACTS)
def user_delete(call: Call) -> Json:
    userid = call.query.get("userid", "")
    if not userid:
        raise ApiError(41009)
    if call.company.directory.find(userid) is None:
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    administration.remove_member(call.world, call.company, userid, tell_contacts=False)
    return {"errmsg": "deleted"}


@endpoint("POST", "department/create", CONTACTS)
def department_create(call: Call) -> Json:
    """`name` and `parentid` must be there; without `id` the department gets the next one."""
    directory = call.company.directory
    number = call.number("id", directory.free_department_id())
    if number in directory.departments:
        raise ApiError(60008)
    call.text("name", missing=60001)
    call.text("parentid", missing=60004)
    _put_department(call, number)
    return {"errmsg": "created", "id": number}


@endpoint("POST", "department/update", CONTACTS)
def department_update(call: Call) -> Json:
    """Only the fields that are sent change; the root keeps its place, not its name."""
    number = call.number("id")
    if number not in call.company.directory.departments:
        raise ApiError(60003)
    if "name" in call.document:
        call.text("name", missing=60001)
    _put_department(call, number)
    return {"errmsg": "updated"}


@endpoint("GET", "department/delete", CONTACTS)
def department_delete(call: Call) -> Json:
    number = query_int(call, "id", 60003)
    if number not in call.company.directory.departments:
        raise ApiError(60003)
    try:
        administration.remove_department(call.world, call.company, number, tell_contacts=False)
    except BrokenRule as error:
        raise ApiError(error.code) from error
    return {"errmsg": "deleted"}


def _put_member(call: Call, defaults: Json) -> None:
    row = defaults | {name: call.document[name] for name in (*_NAMES, *_MORE, *_OUTWARD) if name in call.document}
    if "gender" in row:
        # Programs send the number, too.
        row["gender"] = call.text("gender")
    if "enable" in call.document:
        row["status"] = 1 if call.number("enable") else DISABLED
    try:
        administration.put_members(call.world, call.company, [row], tell_contacts=False)
    except BrokenRule as error:
        raise ApiError(error.code) from error
    except ValueError as error:
        raise ApiError(40058, "invalid Request Parameter") from error


def _put_department(call: Call, number: int) -> None:
    row: Json = {"id": number, **{name: call.text(name) for name in ("name", "name_en") if name in call.document}}
    row |= {name: call.number(name) for name in ("parentid", "order") if name in call.document}
    try:
        administration.put_departments(call.world, call.company, [row], tell_contacts=False)
    except BrokenRule as error:
        raise ApiError(error.code) from error
    except ValueError as error:
        raise ApiError(40058, "invalid Request Parameter") from error
