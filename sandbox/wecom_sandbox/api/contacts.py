"""Reading the directory: members and departments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, as_int, endpoint, numbers, texts
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import typed
from wecom_sandbox.limits.limits import DAY
from wecom_sandbox.messages import content
from wecom_sandbox.state import administration, changes
from wecom_sandbox.state.directory import (
    ACTIVE,
    DISABLED,
    NOT_ACTIVATED,
    BrokenRule,
    Department,
    Member,
    Tag,
    fold,
    is_userid,
)

# WeCom's examples put a space behind the country's code.
_MOBILE = re.compile(r"(\+[0-9]{1,4} )?[0-9+\-]+")
_TELEPHONE = re.compile(r"[0-9+,\-]*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_MOBILE_MOST, _EMAIL_MOST_BYTES, _NAME_MOST, _DEPARTMENTS_MOST = 32, 64, 64, 20
_LENGTHS = {"alias": 32, "position": 128, "address": 128, "telephone": 32, "external_position": 12}


def check_new(call: Call) -> None:
    """Raises ApiError for what no new member may have."""
    _check_name(call.text("name"))
    _check_departments(call.document)
    _check_reachable(call.text("mobile"), call.text("email"))
    _check_given(call, None)


def check_changed(call: Call, old: Member) -> None:
    """Raises ApiError for what the member may not get: looked at is only what is sent.

    The mobile number of somebody who is active is hers alone to change: it is left out, and that is no error (90197).
    """
    sent = call.document
    if old.status == ACTIVE:
        sent.pop("mobile", None)
    if "name" in sent:
        _check_name(call.text("name"))
    if "department" in sent:
        _check_departments(sent)
    if "mobile" in sent or "email" in sent:
        mobile = call.text("mobile") if "mobile" in sent else old.mobile
        _check_reachable(mobile, call.text("email") if "email" in sent else old.email)
    _check_given(call, old)


def check_new_userid(call: Call, old: Member) -> str:
    """Return `new_userid`, "" where none is wanted. Raises ApiError 40003 or 60102.

    WeCom lets an id change once, and only one that it had made itself; the sandbox does not ask who made it. The
    number for a second change is not documented: 40003 [m].
    """
    new = call.text("new_userid")
    if new and (old.has_new_userid or not is_userid(new)):
        raise ApiError(40003)
    other = call.company.directory.find(new)
    if other is not None and other is not old:
        raise ApiError(60102)
    return new


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _NAME_MOST:
        raise ApiError(60112)


def _check_departments(sent: Mapping[str, object]) -> None:
    numbers = sent.get("department")
    if not numbers:
        raise ApiError(60127)
    if not isinstance(numbers, list):
        raise ApiError(40066)
    if len(numbers) > _DEPARTMENTS_MOST:
        raise ApiError(60110)
    for name, wrong in (("is_leader_in_dept", 60132), ("order", 40058)):
        rows = sent.get(name)
        if rows is not None and (not isinstance(rows, list) or len(rows) != len(numbers)):
            raise ApiError(wrong)


def _check_reachable(mobile: str, email: str) -> None:
    if not mobile and not email:
        raise ApiError(60129)


def _check_given(call: Call, old: Member | None) -> None:
    mobile, email, biz_mail = (call.text(name) for name in ("mobile", "email", "biz_mail"))
    if mobile and not (len(mobile) <= _MOBILE_MOST and _MOBILE.fullmatch(mobile)):
        raise ApiError(60103)
    for value, wrong in ((email, 60105), (biz_mail, 60143)):
        if value and not (len(value.encode()) <= _EMAIL_MOST_BYTES and _EMAIL.fullmatch(value)):
            raise ApiError(wrong)
    for name, value, wrong in (("mobile", mobile, 60104), ("email", email, 60106), ("biz_mail", biz_mail, 60145)):
        _check_unique(call, old, name, value, wrong)
    for name, most in _LENGTHS.items():
        if len(call.text(name)) > most:
            raise content.invalid(name)
    if not _TELEPHONE.fullmatch(call.text("telephone")):
        raise content.invalid("telephone")


def _check_unique(call: Call, old: Member | None, name: str, value: str, wrong: int) -> None:
    """Raises ApiError `wrong` for what another member has."""
    if value and any(old is None or one != old.folded for one in call.company.directory.holders(name, value)):
        raise ApiError(wrong)


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
    start = typed.read(call.text("cursor"), *purpose)
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
                return {"next_cursor": typed.write(start + limit, *purpose), "dept_user": rows[:limit]}
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
    check_new(call)
    _put_member(call, {"status": NOT_ACTIVATED})
    return {"errmsg": "created"}


@endpoint("POST", "user/update", CONTACTS)
def user_update(call: Call) -> Json:
    """Only the fields that are sent change; `new_userid` gives the member another id."""
    userid = call.text("userid", missing=41009)
    old = call.company.directory.find(userid)
    if old is None:
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    check_changed(call, old)
    new_userid = check_new_userid(call, old)
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


_TAG_NAME_MOST, _TAGS_MOST, _ID_MOST = 32, 3000, 2**31 - 1
_USERS_MOST, _PARTIES_MOST = 1000, 100


@endpoint("GET", "tag/get", APP, CONTACTS, empty=("userlist", "partylist"))
def tag_get(call: Call) -> Json:
    tag = known_tag(call, call.query.get("tagid", ""))
    found = (call.company.directory.find(userid) for userid in tag.userids)
    members = [member for member in found if member is not None and sees(call, member)]
    return {
        "tagname": tag.tagname,
        "userlist": [{"userid": member.userid, "name": member.name} for member in members],
        "partylist": [number for number in tag.partyids if sees_department(call, number)],
    }


@endpoint("GET", "tag/list", APP, CONTACTS, empty=("taglist",))
def tag_list(call: Call) -> Json:
    return {"taglist": [{"tagid": tag.tagid, "tagname": tag.tagname} for tag in call.company.directory.tags.values()]}


@endpoint("POST", "tag/create", APP, CONTACTS)
def tag_create(call: Call) -> Json:
    """The tag is its maker's: no other app may change it. Without `tagid` it gets the next one."""
    known = call.company.directory.tags
    name = _name(call, None)
    tagid = call.number("tagid", max(known, default=0) + 1)
    if not 0 <= tagid <= _ID_MOST or tagid in known:
        raise ApiError(40068)
    if len(known) >= _TAGS_MOST:
        raise ApiError(40126)
    tag = Tag(tagid, name, agentid=0 if call.app is None else call.app.agentid)
    changes.put_tag(call.world, call.company, tag, tell_contacts=call.app is not None)
    return {"errmsg": "created", "tagid": tagid}


@endpoint("POST", "tag/update", APP, CONTACTS)
def tag_update(call: Call) -> Json:
    tag = _own(call, call.document.get("tagid"))
    tag = replace(tag, tagname=_name(call, tag))
    changes.put_tag(call.world, call.company, tag, tell_contacts=call.app is not None)
    return {"errmsg": "updated"}


@endpoint("GET", "tag/delete", APP, CONTACTS)
def tag_delete(call: Call) -> Json:
    changes.remove_tag(call.world, call.company, _own(call, call.query.get("tagid", "")).tagid)
    return {"errmsg": "deleted"}


@endpoint("POST", "tag/addtagusers", APP, CONTACTS)
def tag_addtagusers(call: Call) -> Json:
    """Those that can be found are added, the others named; 40070 where none can be found."""
    tag = _own(call, call.document.get("tagid"))
    named = _named(call, all_invalid=40070)
    held = {fold(userid) for userid in tag.userids}
    userids = [*tag.userids, *(one for one in named.userids if fold(one) not in held)]
    _change(call, changes.with_people(tag, userids, [*tag.partyids, *named.partyids]))
    return named.invalid


@endpoint("POST", "tag/deltagusers", APP, CONTACTS)
def tag_deltagusers(call: Call) -> Json:
    """The same the other way round; WeCom's page has 40031 where none can be found [1]."""
    tag = _own(call, call.document.get("tagid"))
    named = _named(call, all_invalid=40031)
    gone = {fold(userid) for userid in named.userids}
    userids = [one for one in tag.userids if fold(one) not in gone]
    _change(call, changes.with_people(tag, userids, [one for one in tag.partyids if one not in named.partyids]))
    return {"errmsg": "deleted", **named.invalid}


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a call names: who can be found, spelt as in the directory, and what to answer of the others."""

    userids: list[str]
    partyids: list[int]
    invalid: Json


def _named(call: Call, *, all_invalid: int) -> Named:
    """Raises ApiError `all_invalid` where nobody can be found; 40035 for no list at all, wrong types and too many."""
    users = texts(call.document.get("userlist"), "userlist", most=_USERS_MOST)
    parties = numbers(call.document.get("partylist"), "partylist", most=_PARTIES_MOST)
    if not users and not parties:
        raise ApiError(40035)
    found = {userid: call.company.directory.find(userid) for userid in users}
    userids = [member.userid for member in found.values() if member is not None and sees(call, member)]
    bad_users = [userid for userid, member in found.items() if member is None or not sees(call, member)]
    bad_parties = [number for number in parties if not sees_department(call, number)]
    invalid: Json = {"invalidlist": "|".join(bad_users)} if bad_users else {}
    invalid |= {"invalidparty": bad_parties} if bad_parties else {}
    partyids = [number for number in parties if number not in bad_parties]
    if not userids and not partyids:
        raise ApiError(all_invalid, "all list invalid", fields=invalid)
    return Named(userids, partyids, invalid)


def _change(call: Call, tag: Tag) -> None:
    changes.put_tag(call.world, call.company, tag, tell_contacts=call.app is not None)


def known_tag(call: Call, tagid: object) -> Tag:
    """Raises ApiError 40068."""
    try:
        return call.company.directory.tags[as_int(tagid, "tagid")]
    except (ApiError, KeyError) as error:
        raise ApiError(40068) from error


def _own(call: Call, tagid: object) -> Tag:
    """A tag that the caller may change: an app its own, the sync assistant its own and the console's.

    Raises ApiError 41017, 40068 or 81011.
    """
    if tagid is None or tagid == "":
        raise ApiError(41017)
    tag = known_tag(call, tagid)
    if tag.agentid != (0 if call.app is None else call.app.agentid):
        raise ApiError(81011)
    return tag


def _name(call: Call, own: Tag | None) -> str:
    """Raises ApiError 41018, 40072 or 40071."""
    name = call.text("tagname", missing=41018)
    if len(name) > _TAG_NAME_MOST:
        raise ApiError(40072)
    if any(tag.tagname == name and tag is not own for tag in call.company.directory.tags.values()):
        raise ApiError(40071)
    return name
