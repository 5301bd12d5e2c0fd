"""What stands in WeCom's own apps, as far as other apps may read it: attendance (打卡), approvals (审批), customers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from wecom_sandbox.state.calendars import Calendar, Schedule

PENDING = 1
T = TypeVar("T")
# Of a company's approvals, calendars and schedules: so many of each that programs made; the oldest go first.
ROWS_MOST = 10_000


@dataclass(slots=True)
class CheckinGroup:
    """A rule of attendance and its people. `option`: what getcheckinoption shows beside id and name."""

    groupid: int
    groupname: str
    userids: list[str] = field(default_factory=list)
    option: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class CheckinRecord:
    """One check-in. Times in unix seconds; `lat` and `lng` in millionths of a degree."""

    userid: str
    checkin_time: int
    checkin_type: str = "上班打卡"
    exception_type: str = ""
    groupid: int = 0
    groupname: str = ""
    sch_checkin_time: int = 0
    schedule_id: int = 0
    timeline_id: int = 0
    location_title: str = ""
    location_detail: str = ""
    wifiname: str = ""
    wifimac: str = ""
    notes: str = ""
    deviceid: str = ""
    lat: int = 0
    lng: int = 0
    mediaids: list[str] = field(default_factory=list)

    @property
    def is_outside(self) -> bool:
        return self.checkin_type == "外出打卡"


@dataclass(slots=True)
class ApprovalTemplate:
    """`controls`: as in template_content.controls."""

    template_id: str
    name: str
    controls: list[dict[str, object]] = field(default_factory=list)


@dataclass(slots=True)
class Approval:
    """`contents`: as in apply_data.contents. `sp_status`: 1 under way, 2 approved, 3 refused, 4 withdrawn."""

    sp_no: str
    template_id: str
    userid: str
    apply_time: int
    sp_status: int = PENDING
    partyid: int = 1
    approvers: list[str] = field(default_factory=list)
    notifyer: list[str] = field(default_factory=list)
    contents: list[dict[str, object]] = field(default_factory=list)


@dataclass(slots=True)
class Customer:
    """Somebody outside the company whom members know. `follow_users`: their userids."""

    external_userid: str
    name: str
    openid: str = ""
    gender: int = 0
    avatar: str = ""
    remark: str = ""
    follow_users: list[str] = field(default_factory=list)


def add(rows: list[T], row: T) -> None:
    """To one of the lists that programs add to."""
    rows.append(row)
    del rows[:-ROWS_MOST]


@dataclass(slots=True)
class Office:
    checkin_groups: list[CheckinGroup] = field(default_factory=list)
    checkin_records: list[CheckinRecord] = field(default_factory=list)
    approval_templates: list[ApprovalTemplate] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    calendars: list[Calendar] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)

    def rename(self, folded: str, userid: str) -> None:
        """Another userid for the member who has this folded one."""
        done: list[CheckinRecord | Approval] = [*self.checkin_records, *self.approvals]
        for one in done:
            one.userid = userid if one.userid.lower() == folded else one.userid
        organized: list[Calendar | Schedule] = [*self.calendars, *self.schedules]
        for kept in organized:
            kept.organizer = userid if kept.organizer.lower() == folded else kept.organizer
        for group in self.checkin_groups:
            group.userids = [userid if old.lower() == folded else old for old in group.userids]
        for customer in self.customers:
            customer.follow_users = [userid if old.lower() == folded else old for old in customer.follow_users]

    def template(self, template_id: str) -> ApprovalTemplate | None:
        return next((one for one in self.approval_templates if one.template_id == template_id), None)

    def approval(self, sp_no: str) -> Approval | None:
        return next((one for one in self.approvals if one.sp_no == sp_no), None)
