"""Attendance (打卡), read by an app to which the company opened it (`reads` of the app). Pages 90262, 93374, 93387.

What the sandbox was seeded with is answered; sums of days and months are made from the check-ins, without rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from wecom_sandbox.api.call import APP, Call, Json, endpoint, texts
from wecom_sandbox.errors import ApiError
from wecom_sandbox.limits.limits import DAY
from wecom_sandbox.messages import fields
from wecom_sandbox.messages.inbox import china_day
from wecom_sandbox.state.directory import Member
from wecom_sandbox.state.office import CheckinGroup, CheckinRecord

CHECKIN = "checkin"
_USERS_MOST, _DAYS_MOST = 100, 31
_ALL, _OUTSIDE, _INSIDE = 3, 2, 1


@endpoint("POST", "checkin/getcheckindata", APP, empty=("checkindata",))
def getcheckindata(call: Call) -> Json:
    """`opencheckindatatype` 1: at work, 2: outside, 3: all."""
    check_right(call, CHECKIN, 48002)
    kind = call.number("opencheckindatatype", _ALL)
    if kind not in (_INSIDE, _OUTSIDE, _ALL):
        raise fields.invalid("opencheckindatatype")
    start, end = _period(call)
    folded = {member.folded for member in _people(call)}
    records = [
        record
        for record in call.company.office.checkin_records
        if record.userid.lower() in folded
        and start <= record.checkin_time <= end
        and (kind == _ALL or record.is_outside == (kind == _OUTSIDE))
    ]
    return {"checkindata": [_record(record) for record in sorted(records, key=lambda one: one.checkin_time)]}


@endpoint("POST", "checkin/getcheckinoption", APP, empty=("info",))
def getcheckinoption(call: Call) -> Json:
    """The rule of each asked person; who has none is left out."""
    check_right(call, CHECKIN, 48002)
    if call.number("datetime") <= 0:
        raise ApiError(301024)
    rules = [(member, _group_of(call, member)) for member in _people(call)]
    return {"info": [{"userid": member.userid, "group": _group(group)} for member, group in rules if group is not None]}


@endpoint("POST", "checkin/getcorpcheckinoption", APP, empty=("group",))
def getcorpcheckinoption(call: Call) -> Json:
    """All rules of the company, with their people."""
    check_right(call, CHECKIN, 48002)
    groups = call.company.office.checkin_groups
    return {"group": [_group(one) | {"range": {"party_id": [], "userid": one.userids, "tagid": []}} for one in groups]}


@endpoint("POST", "checkin/getcheckin_daydata", APP, empty=("datas",))
def getcheckin_daydata(call: Call) -> Json:
    """One row for each person and day on which she checked in."""
    check_right(call, CHECKIN, 48002)
    rows: list[Json] = []
    for member, records in _records_of_people(call):
        for day in sorted({china_day(record.checkin_time) for record in records}):
            today = [record for record in records if china_day(record.checkin_time) == day]
            base = _base(call, member) | {"date": day * DAY - 8 * 3600, "day_type": 0}
            rows.append({"base_info": base, "summary_info": _day_summary(today), "sp_items": [], "ot_info": {}})
    return {"datas": rows}


@endpoint("POST", "checkin/getcheckin_monthdata", APP, empty=("datas",))
def getcheckin_monthdata(call: Call) -> Json:
    """One row for each asked person."""
    check_right(call, CHECKIN, 48002)
    rows: list[Json] = []
    for member, records in _records_of_people(call):
        days = len({china_day(record.checkin_time) for record in records})
        summary: Json = {"work_days": days, "except_days": len({r.checkin_time for r in records if r.exception_type})}
        rows.append({"base_info": _base(call, member), "summary_info": summary, "exception_infos": [], "sp_items": []})
    return {"datas": rows}


@endpoint("POST", "checkin/getcheckinschedulist", APP, empty=("schedule_list",))
def getcheckinschedulist(call: Call) -> Json:
    """The sandbox has no shifts."""
    check_right(call, CHECKIN, 48002)
    _period(call)
    _people(call)
    return {"schedule_list": []}


def check_right(call: Call, what: str, wrong: int) -> None:
    """Raises ApiError `wrong` for an app to which the company did not open this."""
    if what not in call.own_app.reads:
        raise ApiError(wrong)


def _period(call: Call) -> tuple[int, int]:
    """Raises ApiError 301024."""
    start, end = call.number("starttime"), call.number("endtime")
    if start <= 0 or end < start or end - start > _DAYS_MOST * DAY:
        raise ApiError(301024)
    return start, end


def _people(call: Call) -> list[Member]:
    """Raises ApiError 301023 for none or too many, 301021 for somebody unknown."""
    userids = texts(call.document.get("useridlist"), "useridlist", most=_USERS_MOST, too_many=301023)
    found = [call.company.directory.find(userid) for userid in dict.fromkeys(userids)]
    members = [member for member in found if member is not None]
    if not found:
        raise ApiError(301023)
    if len(members) < len(found):
        raise ApiError(301021)
    return members


def _records_of_people(call: Call) -> Iterator[tuple[Member, list[CheckinRecord]]]:
    start, end = _period(call)
    for member in _people(call):
        own = [one for one in call.company.office.checkin_records if one.userid.lower() == member.folded]
        # The end of the period is a day, of which all counts.
        yield member, [one for one in own if start <= one.checkin_time < end + DAY]


def _record(record: CheckinRecord) -> Json:
    return {name: getattr(record, name) for name in record.__slots__}


def _group_of(call: Call, member: Member) -> CheckinGroup | None:
    groups = call.company.office.checkin_groups
    return next((one for one in groups if member.folded in {userid.lower() for userid in one.userids}), None)


def _group(group: CheckinGroup) -> Json:
    return {"grouptype": 1} | group.option | {"groupid": group.groupid, "groupname": group.groupname}


def _base(call: Call, member: Member) -> Json:
    group = _group_of(call, member)
    departments = call.company.directory.departments
    rule = {"groupid": group.groupid if group else 0, "groupname": group.groupname if group else ""}
    return {
        "record_type": 1,
        "name": member.name,
        "name_ex": member.alias,
        "departs_name": ";".join(departments[number].name for number in member.department),
        "acctid": member.userid,
        "rule_info": rule,
    }


def _day_summary(records: list[CheckinRecord]) -> Json:
    """Seconds after midnight in China."""
    seconds = [record.checkin_time + 8 * 3600 for record in records]
    first, last = min(seconds) % DAY, max(seconds) % DAY
    return {
        "checkin_count": len(records),
        "regular_work_sec": last - first,
        "earliest_time": first,
        "lastest_time": last,
    }
