"""Calendars (日历) and what stands in them (日程). Pages 93647 and 93648; numbers of errors: the table 90313 [2].

Which number an unknown organizer or a text that is too long gives is not documented: 60111 and 40058 [m]. Nobody is
reminded and nothing is repeated: what was sent is kept and shown.
"""

from __future__ import annotations

import re
from typing import TypeVar

from wecom_sandbox.api.call import APP, Call, Json, endpoint, texts
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import fields
from wecom_sandbox.state.calendars import Calendar, Schedule
from wecom_sandbox.state.office import add

Kept = TypeVar("Kept", Calendar, Schedule)
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_ASKED_MOST, _SHARES_MOST, _ATTENDEES_MOST, _PAGE_MOST = 1000, 2000, 1000, 1000
_SUMMARY_MOST, _DESCRIPTION_MOST, _LOCATION_MOST = 128, 1000, 128
# Of a calendar and of a schedule: unknown, deleted, no ids at all.
_CALENDAR, _SCHEDULE = (90457, 90459, 90458), (90461, 90460, 90462)


@endpoint("POST", "oa/calendar/add", APP)
def calendar_add(call: Call) -> Json:
    given = fields.child(call.document, "calendar", missing=40058)
    calendar = Calendar(call.own_app.agentid, _organizer(call, given))
    _fill_calendar(call, calendar, given)
    add(call.company.office.calendars, calendar)
    return {"cal_id": calendar.id}


@endpoint("POST", "oa/calendar/update", APP)
def calendar_update(call: Call) -> Json:
    """All of it anew, but for the organizer, who stays."""
    given = fields.child(call.document, "calendar", missing=40058)
    calendar = _own(call, call.company.office.calendars, given.get("cal_id"), _CALENDAR)
    _check_organizer(call, given, calendar, wrong=90463)
    _fill_calendar(call, calendar, given)
    return {}


@endpoint("POST", "oa/calendar/get", APP, empty=("calendar_list",))
def calendar_get(call: Call) -> Json:
    found = _asked(call, "cal_id_list", call.company.office.calendars, _CALENDAR)
    return {"calendar_list": [_calendar(calendar) for calendar in found]}


@endpoint("POST", "oa/calendar/del", APP)
def calendar_del(call: Call) -> Json:
    """What stands in it is gone with it."""
    office = call.company.office
    calendar = _own(call, office.calendars, call.document.get("cal_id"), _CALENDAR)
    calendar.is_deleted = True
    for schedule in office.schedules:
        schedule.is_deleted = schedule.is_deleted or schedule.cal_id == calendar.id
    return {}


@endpoint("POST", "oa/schedule/add", APP)
def schedule_add(call: Call) -> Json:
    given = fields.child(call.document, "schedule", missing=40058)
    schedule = Schedule(call.own_app.agentid, _organizer(call, given), cal_id=fields.text(given, "cal_id"))
    if schedule.cal_id:
        calendar = _own(call, call.company.office.calendars, schedule.cal_id, _CALENDAR)
        if calendar.organizer != schedule.organizer:
            raise ApiError(90475)
    _fill_schedule(call, schedule, given)
    add(call.company.office.schedules, schedule)
    return {"schedule_id": schedule.id}


@endpoint("POST", "oa/schedule/update", APP)
def schedule_update(call: Call) -> Json:
    """All of it anew, but for organizer and calendar, which stay."""
    given = fields.child(call.document, "schedule", missing=40058)
    schedule = _own(call, call.company.office.schedules, given.get("schedule_id"), _SCHEDULE)
    _check_organizer(call, given, schedule, wrong=90468)
    _fill_schedule(call, schedule, given)
    return {}


@endpoint("POST", "oa/schedule/get", APP, empty=("schedule_list",))
def schedule_get(call: Call) -> Json:
    found = _asked(call, "schedule_id_list", call.company.office.schedules, _SCHEDULE)
    return {"schedule_list": [_schedule(schedule) for schedule in found]}


@endpoint("POST", "oa/schedule/del", APP)
def schedule_del(call: Call) -> Json:
    _own(call, call.company.office.schedules, call.document.get("schedule_id"), _SCHEDULE).is_deleted = True
    return {}


@endpoint("POST", "oa/schedule/get_by_calendar", APP, empty=("schedule_list",))
def schedule_get_by_calendar(call: Call) -> Json:
    calendar = _own(call, call.company.office.calendars, call.document.get("cal_id"), _CALENDAR)
    offset, limit = call.number("offset"), call.number("limit", 500)
    if offset < 0:
        raise ApiError(90470)
    if not 1 <= limit <= _PAGE_MOST:
        raise ApiError(90469)
    mine = [one for one in call.company.office.schedules if one.cal_id == calendar.id and not one.is_deleted]
    return {"schedule_list": [_schedule(schedule) for schedule in mine[offset : offset + limit]]}


def _organizer(call: Call, given: Json) -> str:
    """The member's userid. Raises ApiError 90456 or 60111."""
    return _member(call, fields.text(given, "organizer", missing=90456))


def _check_organizer(call: Call, given: Json, old: Kept, *, wrong: int) -> None:
    """Raises ApiError `wrong` for another one, 60111 for nobody."""
    organizer = fields.text(given, "organizer")
    if organizer and _member(call, organizer) != old.organizer:
        raise ApiError(wrong)


def _fill_calendar(call: Call, calendar: Calendar, given: Json) -> None:
    """Raises ApiError; then nothing is changed."""
    summary = _text(given, "summary", _SUMMARY_MOST, is_needed=True)
    description = _text(given, "description", _DESCRIPTION_MOST)
    color = fields.text(given, "color", missing=90473)
    if not _COLOR.fullmatch(color):
        raise ApiError(90473)
    readonly = fields.number(given, "readonly", most=1)
    shares: list[dict[str, object]] = [
        {"userid": _member(call, fields.text(row, "userid", missing=41009)), "readonly": fields.number(row, "readonly")}
        for row in fields.children(given, "shares", least=0, most=_SHARES_MOST, wrong=90464)
    ]
    calendar.summary, calendar.description, calendar.color = summary, description, color
    calendar.readonly, calendar.shares = readonly, shares


def _fill_schedule(call: Call, schedule: Schedule, given: Json) -> None:
    """Raises ApiError; then nothing is changed."""
    start, end = fields.number(given, "start_time", most=2**40), fields.number(given, "end_time", most=2**40)
    if not 0 < start <= end:
        raise fields.invalid("start_time or end_time")
    summary = _text(given, "summary", _SUMMARY_MOST)
    description = _text(given, "description", _DESCRIPTION_MOST)
    location = _text(given, "location", _LOCATION_MOST)
    rows = fields.children(given, "attendees", least=0, most=_ATTENDEES_MOST, wrong=90464)
    attendees = [_member(call, fields.text(row, "userid", missing=41009)) for row in rows]
    reminders = fields.child(given, "reminders")
    schedule.start_time, schedule.end_time, schedule.summary = start, end, summary
    schedule.description, schedule.location = description, location
    schedule.attendees, schedule.reminders = attendees, reminders


def _text(given: Json, name: str, most: int, *, is_needed: bool = False) -> str:
    value = fields.text(given, name, missing=40058 if is_needed else None)
    if len(value) > most:
        raise fields.invalid(name)
    return value


def _member(call: Call, userid: str) -> str:
    """The member's userid as the directory spells it. Raises ApiError 60111."""
    member = call.company.directory.find(userid)
    if member is None:
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    return member.userid


def _asked(call: Call, name: str, kept: list[Kept], codes: tuple[int, int, int]) -> list[Kept]:
    ids = texts(call.document.get(name), name, most=_ASKED_MOST)
    if not ids:
        raise ApiError(codes[2])
    return [_own(call, kept, one, codes) for one in ids]


def _own(call: Call, kept: list[Kept], wanted: object, codes: tuple[int, int, int]) -> Kept:
    """The one with this id, of the caller's app. Raises ApiError `codes`, or 90466 for another app's."""
    unknown, deleted, _ = codes
    found = next((one for one in kept if one.id == wanted), None)
    if found is None:
        raise ApiError(unknown)
    if found.agentid != call.own_app.agentid:
        raise ApiError(90466)
    if found.is_deleted:
        raise ApiError(deleted)
    return found


def _calendar(calendar: Calendar) -> Json:
    names = ("organizer", "readonly", "summary", "color", "description", "shares")
    return {"cal_id": calendar.id} | {name: getattr(calendar, name) for name in names}


def _schedule(schedule: Schedule) -> Json:
    names = ("organizer", "summary", "description", "reminders", "location", "cal_id", "start_time", "end_time")
    shown = {"schedule_id": schedule.id} | {name: getattr(schedule, name) for name in names}
    return shown | {"attendees": [{"userid": one, "response_status": 0} for one in schedule.attendees], "status": 0}
