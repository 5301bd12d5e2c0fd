"""Reading the directory: members and departments."""

from __future__ import annotations

from collections.abc import Callable

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, as_int, endpoint
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import cursors
from wecom_sandbox.limits.limits import DAY
from wecom_sandbox.state.directory import Department, Member, is_userid

# user/get and user/list leave these out for apps made after 2022-06-20.
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
    if call.app is not None and not call.company.visibility(call.app).sees(member):
        raise ApiError(60011)
    return member_row(call, member)


@endpoint("GET", "user/simplelist", APP, CONTACTS, empty=("userlist",))
def user_simplelist(call: Call) -> Json:
    _refuse_new_ip(call)
    members = _members_of(call)
    return {"userlist": [simple_member_row(call, member) for member in members]}


@endpoint("GET", "user/list", APP, CONTACTS, empty=("userlist",))
def user_list(call: Call) -> Json:
    _refuse_new_ip(call)
    return {"userlist": [member_row(call, member) for member in _members_of(call)]}


@endpoint("POST", "user/list_id", CONTACTS, empty=("dept_user",))
def user_list_id(call: Call) -> Json:
    """One row for each member and department; `cursor` is where the page before ended."""
    limit = call.number("limit", _LIST_ID_MOST)
    if not 1 <= limit <= _LIST_ID_MOST:
        raise ApiError(40035)
    purpose = (call.request.path, call.company.corpid)
    start = cursors.read(call.text("cursor"), *purpose)
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
                return {"next_cursor": cursors.write(start + limit, *purpose), "dept_user": rows[:limit]}
    if start > position:
        raise ApiError(50100)
    return {"next_cursor": "", "dept_user": rows}


@endpoint("GET", "department/list", APP, CONTACTS, empty=("department",))
def department_list(call: Call) -> Json:
    _refuse_new_ip(call)
    return {"department": [department_row(one) for one in _departments_below(call)]}


@endpoint("GET", "department/simplelist", APP, CONTACTS, empty=("department_id",))
def department_simplelist(call: Call) -> Json:
    rows = [{"id": one.id, "parentid": one.parentid, "order": one.order} for one in _departments_below(call)]
    return {"department_id": rows}


@endpoint("GET", "department/get", APP, CONTACTS)
def department_get(call: Call) -> Json:
    return {"department": department_row(_requested_department(call, "id"))}


@endpoint("POST", "user/getuserid", APP, CONTACTS)
def user_getuserid(call: Call) -> Json:
    """Wrong numbers above a fifth of the company's head count block the call for a day (45009)."""
    mobile = call.text("mobile", missing=40063)
    limits, key = call.world.limits, ("mobile", call.company.corpid)
    limits.check_blocked(*key, now=call.now)
    try:
        return {"userid": _find(call, lambda member: member.mobile == mobile)}
    except ApiError:
        most = max(1, len(call.company.directory.members) // 5)
        limits.count(*key, seconds=DAY, limit=most, now=call.now)
        raise


@endpoint("POST", "user/get_userid_by_email", APP, CONTACTS)
def user_get_userid_by_email(call: Call) -> Json:
    """email_type 1: company mail, 2: private."""
    email, kind = call.text("email", missing=40063).lower(), call.number("email_type", 1)
    if kind not in (1, 2):
        raise ApiError(40058)
    return {"userid": _find(call, lambda one: (one.biz_mail if kind == 1 else one.email).lower() == email)}


def _refuse_new_ip(call: Call) -> None:
    """The sync assistant reads details only from addresses that it used before 2022-08-15."""
    if call.app is None and call.request.ip not in call.company.contacts_old_ips:
        raise ApiError(48009)


def _find(call: Call, wanted: Callable[[Member], bool]) -> str:
    for member in call.company.directory.members.values():
        if wanted(member) and sees(call, member):
            return member.userid
    raise ApiError(46004)


def sees(call: Call, member: Member) -> bool:
    return call.app is None or call.company.visibility(call.app).sees(member)


def sees_department(call: Call, number: int) -> bool:
    if call.app is None:
        return number in call.company.directory.departments
    return number in call.company.visibility(call.app).departments


def seen_departments(call: Call) -> list[Department]:
    directory = call.company.directory
    numbers = directory.departments if call.app is None else call.company.visibility(call.app).departments
    return [directory.departments[number] for number in sorted(numbers)]


def query_int(call: Call, name: str, code: int) -> int:
    """A number of the query. Raises ApiError `code` for anything else."""
    try:
        return as_int(call.query.get(name, ""), name)
    except ApiError as error:
        raise ApiError(code) from error


def _requested_department(call: Call, name: str) -> Department:
    """Raises ApiError 60003 (unknown) or 60011 (not visible)."""
    number = query_int(call, name, 60003)
    department = call.company.directory.departments.get(number)
    if department is None:
        raise ApiError(60003)
    if not sees_department(call, number):
        raise ApiError(60011)
    return department


def _departments_below(call: Call) -> list[Department]:
    """The asked department and all below it; without `id`, everything visible."""
    directory = call.company.directory
    if not call.query.get("id"):
        return seen_departments(call)
    return [directory.departments[one] for one in sorted(directory.subtree(_requested_department(call, "id").id))]


def _members_of(call: Call) -> list[Member]:
    """Direct members of the asked department; of those below only where `fetch_child_honoured` is on."""
    directory = call.company.directory
    department = _requested_department(call, "department_id")
    if call.query.get("fetch_child") == "1" and call.world.settings.fetch_child_honoured:
        return list(directory.members_below(sorted(directory.subtree(department.id))))
    return list(directory.direct_members(department.id))


def simple_member_row(call: Call, member: Member) -> Json:
    seen = [number for number in member.department if sees_department(call, number)]
    return {"userid": member.userid, "name": member.name, "department": seen}


def department_row(department: Department) -> Json:
    return {
        "id": department.id,
        "name": department.name,
        "name_en": department.name_en,
        "department_leader": department.department_leader,
        "parentid": department.parentid,
        "order": department.order,
    }


def member_row(call: Call, member: Member) -> Json:
    """As this caller sees the member: departments of its scope only, no personal details for newer apps."""
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
        "direct_leader": [leader.userid for leader in leaders if leader is not None and sees(call, leader)],
        "avatar": member.avatar,
        "thumb_avatar": member.avatar.removesuffix("/0") + "/100" if member.avatar else "",
        "telephone": member.telephone,
        "alias": member.alias,
        "status": member.status,
        "enable": int(member.status != 2),
        "address": member.address,
        "qr_code": f"https://open.work.weixin.qq.com/wwopen/userQRCode?vcode=sandbox-{member.folded}",
        "extattr": member.extattr or {"attrs": []},
    }
    if member.external_position:
        row["external_position"] = member.external_position
    if member.external_profile is not None:
        row["external_profile"] = member.external_profile
    if member.main_department and sees_department(call, member.main_department):
        row["main_department"] = member.main_department
    if call.app is not None and call.app.created_after_2022_06_20:
        for name in _RESTRICTED:
            del row[name]
    return row
