"""Reads of the directory: members, departments and tags."""

from __future__ import annotations

from collections.abc import Collection

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, endpoint, read_int
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import typed
from wecom_sandbox.state.directory import DISABLED, Department, Member, is_userid

# Fields that user/get and user/list omit for apps created after 2022-06-20.
_RESTRICTED = ("avatar", "thumb_avatar", "gender", "mobile", "email", "biz_mail", "qr_code", "address")
_LIST_ID_MOST = 10_000


@endpoint("GET", "user/get", APP, CONTACTS)
def user_get(call: Call) -> Json:
    userid = call.query.get("userid", "")
    if not userid:
        raise ApiError(41009)
    _refuse_new_ip(call)
    member = call.company.directory.find(userid)
    if member is None:
        if not is_userid(userid):
            raise ApiError(40003)
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    if not sees_member(call, member):
        raise ApiError(60011)
    return make_member_row(call, member)


@endpoint("GET", "user/simplelist", APP, CONTACTS, empty=("userlist",))
def user_simplelist(call: Call) -> Json:
    _refuse_new_ip(call)
    return {
        "userlist": [
            {
                "userid": member.userid,
                "name": member.name,
                "department": [number for number in member.department if sees_department(call, number)],
            }
            for member in _list_requested_members(call)
        ]
    }


@endpoint("GET", "user/list", APP, CONTACTS, empty=("userlist",))
def user_list(call: Call) -> Json:
    _refuse_new_ip(call)
    return {"userlist": [make_member_row(call, member) for member in _list_requested_members(call)]}


@endpoint("POST", "user/list_id", CONTACTS, empty=("dept_user",))
def user_list_id(call: Call) -> Json:
    """Return one row for each member and department. `cursor`: next_cursor of the page before."""
    limit = call.number("limit", _LIST_ID_MOST)
    if not 1 <= limit <= _LIST_ID_MOST:
        raise ApiError(40035)
    purpose = (call.request.path, call.company.corpid)
    start = typed.read_cursor(call.text("cursor"), *purpose)
    if start is None:
        raise ApiError(50100)
    rows: list[Json] = []
    position = 0
    for member in call.company.directory.members.values():
        for number in member.department:
            position += 1
            if position > start:
                rows.append({"userid": member.userid, "department": number})
            if len(rows) > limit:
                return {"next_cursor": typed.write_cursor(start + limit, *purpose), "dept_user": rows[:limit]}
    if start > position:
        raise ApiError(50100)
    return {"next_cursor": "", "dept_user": rows}


@endpoint("GET", "department/list", APP, CONTACTS, empty=("department",))
def department_list(call: Call) -> Json:
    _refuse_new_ip(call)
    return {"department": [make_department_row(one) for one in _list_departments_below(call)]}


@endpoint("GET", "department/simplelist", APP, CONTACTS, empty=("department_id",))
def department_simplelist(call: Call) -> Json:
    rows = [{"id": one.id, "parentid": one.parentid, "order": one.order} for one in _list_departments_below(call)]
    return {"department_id": rows}


@endpoint("GET", "department/get", APP, CONTACTS)
def department_get(call: Call) -> Json:
    return {"department": make_department_row(_find_requested_department(call, "id"))}


def _refuse_new_ip(call: Call) -> None:
    """Raise ApiError 48009 for the sync assistant, except from addresses that it used before 2022-08-15."""
    if call.app is None and call.request.ip not in call.company.contacts_old_ips:
        raise ApiError(48009)


def sees_member(call: Call, member: Member) -> bool:
    return call.app is None or call.company.visibility(call.app).sees(member)


def sees_department(call: Call, number: int) -> bool:
    if call.app is None:
        return number in call.company.directory.departments
    return number in call.company.visibility(call.app).departments


def read_query_int(call: Call, name: str, code: int) -> int:
    """Return a number of the query. Raise ApiError `code` for anything else."""
    try:
        return read_int(call.query.get(name, ""), name)
    except ApiError as error:
        raise ApiError(code) from error


def _find_requested_department(call: Call, name: str) -> Department:
    """Return the department. Raise ApiError 60003 (unknown) or 60011 (not visible)."""
    number = read_query_int(call, name, 60003)
    department = call.company.directory.departments.get(number)
    if department is None:
        raise ApiError(60003)
    if not sees_department(call, number):
        raise ApiError(60011)
    return department


def _list_departments_below(call: Call) -> list[Department]:
    """Return the requested department and all below it; without `id`, all visible ones."""
    directory = call.company.directory
    if call.query.get("id"):
        found: Collection[int] = directory.subtree(_find_requested_department(call, "id").id)
    else:
        found = directory.departments if call.app is None else call.company.visibility(call.app).departments
    return [directory.departments[one] for one in sorted(found)]


def _list_requested_members(call: Call) -> list[Member]:
    """Return the department's direct members; for fetch_child=1, also those below if `fetch_child_honoured`."""
    directory = call.company.directory
    department = _find_requested_department(call, "department_id")
    if call.query.get("fetch_child") == "1" and call.world.settings.fetch_child_honoured:
        return list(directory.members_below(sorted(directory.subtree(department.id))))
    return list(directory.direct_members(department.id))


def make_department_row(department: Department) -> Json:
    return {
        "id": department.id,
        "name": department.name,
        "name_en": department.name_en,
        "department_leader": department.department_leader,
        "parentid": department.parentid,
        "order": department.order,
    }


def make_member_row(call: Call, member: Member) -> Json:
    """Return the member as the caller sees it: only departments in its scope, and for newer apps no personal data."""
    seen = [index for index, number in enumerate(member.department) if sees_department(call, number)]
    leaders = (call.company.directory.find(userid) for userid in member.direct_leader)
    row: Json = {
        "userid": member.userid,
        "name": member.name,
        "department": [member.department[index] for index in seen],
        "order": [member.order[index] for index in seen],
        "position": member.position,
        "mobile": member.mobile,
        "gender": member.gender,
        "email": member.email,
        "biz_mail": member.biz_mail,
        "is_leader_in_dept": [member.is_leader_in_dept[index] for index in seen],
        "direct_leader": [leader.userid for leader in leaders if leader is not None and sees_member(call, leader)],
        "avatar": member.avatar,
        "thumb_avatar": member.avatar.removesuffix("/0") + "/100" if member.avatar else "",
        "telephone": member.telephone,
        "alias": member.alias,
        "status": member.status,
        "enable": int(member.status != DISABLED),
        "address": member.address,
        "qr_code": f"https://open.work.weixin.qq.com/wwopen/userQRCode?vcode=sandbox-{member.folded}",
        "extattr": member.extattr or {"attrs": []},
    }
    if member.main_department and sees_department(call, member.main_department):
        row["main_department"] = member.main_department
    if call.app is not None and call.app.created_after_2022_06_20:
        for name in _RESTRICTED:
            del row[name]
    return row


@endpoint("GET", "tag/get", APP, CONTACTS, empty=("userlist", "partylist"))
def tag_get(call: Call) -> Json:
    tag = call.company.directory.tags.get(read_query_int(call, "tagid", 40068))
    if tag is None:
        raise ApiError(40068)
    found = (call.company.directory.find(userid) for userid in tag.userids)
    members = [member for member in found if member is not None and sees_member(call, member)]
    return {
        "tagname": tag.tagname,
        "userlist": [{"userid": member.userid, "name": member.name} for member in members],
        "partylist": [number for number in tag.partyids if sees_department(call, number)],
    }
