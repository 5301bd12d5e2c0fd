"""Approvals (审批): an app applies for a member and reads what became of it. Pages 91816, 91853, 91982, 91983.

Only an app to which the company opened them (`reads` of the app) may; others get 301055.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from wecom_sandbox.api.call import APP, Call, Json, endpoint, texts
from wecom_sandbox.api.checkin import check_right
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import cursors
from wecom_sandbox.http.digits import read_integer
from wecom_sandbox.limits.limits import DAY
from wecom_sandbox.messages import fields
from wecom_sandbox.state.office import Approval, ApprovalTemplate, add

APPROVAL = "approval"
_SIZE_MOST, _DAYS_MOST = 100, 31
_WRONG, _NO_TEMPLATE, _NO_RIGHT = 301025, 301026, 301055
# Filters that getapprovalinfo knows, each with the field of an approval that it looks at.
_FILTERS = {"template_id": "template_id", "creator": "userid", "department": "partyid", "sp_status": "sp_status"}


@endpoint("POST", "oa/gettemplatedetail", APP)
def gettemplatedetail(call: Call) -> Json:
    check_right(call, APPROVAL, _NO_RIGHT)
    template = _template(call)
    names = [{"text": template.name, "lang": "zh_CN"}]
    return {"template_names": names, "template_content": {"controls": template.controls}}


@endpoint("POST", "oa/applyevent", APP)
def applyevent(call: Call) -> Json:
    """The application stands under way, as the member's own would."""
    check_right(call, APPROVAL, _NO_RIGHT)
    template = _template(call)
    member = call.company.directory.find(call.text("creator_userid", missing=_WRONG))
    if member is None:
        raise ApiError(_WRONG)
    contents = fields.child(call.document, "apply_data", missing=_WRONG)
    rows = fields.children(contents, "contents", least=1, most=1000, wrong=_WRONG)
    approvers = [
        userid
        for step in fields.children(call.document, "approver", least=0, most=100, wrong=_WRONG)
        for userid in texts(step.get("userid"), "userid", most=100, too_many=_WRONG)
    ]
    office = call.company.office
    day = datetime.fromtimestamp(call.now + 8 * 3600, tz=UTC).strftime("%Y%m%d")
    numbers = (read_integer(one.sp_no[8:]) or 0 for one in office.approvals if one.sp_no.startswith(day))
    approval = Approval(f"{day}{max(numbers, default=0) + 1:04d}", template.template_id, member.userid, int(call.now))
    approval.partyid, approval.approvers, approval.contents = member.main_department, approvers, rows
    approval.notifyer = texts(call.document.get("notifyer"), "notifyer", most=100, too_many=_WRONG)
    add(office.approvals, approval)
    return {"sp_no": approval.sp_no}


@endpoint("POST", "oa/getapprovalinfo", APP, empty=("sp_no_list",))
def getapprovalinfo(call: Call) -> Json:
    """Numbers of what was applied for within 31 days. With `new_cursor` or, as it was before, with `cursor`."""
    check_right(call, APPROVAL, _NO_RIGHT)
    start, end = call.number("starttime"), call.number("endtime")
    size = call.number("size", _SIZE_MOST)
    if start <= 0 or end < start or end - start > _DAYS_MOST * DAY or not 1 <= size <= _SIZE_MOST:
        raise ApiError(_WRONG)
    filters = fields.children(call.document, "filters", least=0, most=10, wrong=_WRONG)
    found = [one for one in call.company.office.approvals if start <= one.apply_time <= end and _fits(one, filters)]
    position = _position(call)
    page, more = found[position : position + size], len(found) > position + size
    answer: Json = {"sp_no_list": [one.sp_no for one in page]}
    if not more:
        return answer
    if "new_cursor" in call.document:
        return answer | {"new_next_cursor": cursors.write(position + size, "oa/getapprovalinfo", call.company.corpid)}
    return answer | {"next_cursor": position + size}


@endpoint("POST", "oa/getapprovaldetail", APP)
def getapprovaldetail(call: Call) -> Json:
    check_right(call, APPROVAL, _NO_RIGHT)
    approval = call.company.office.approval(call.text("sp_no", missing=_WRONG))
    if approval is None:
        raise ApiError(_WRONG)
    template = call.company.office.template(approval.template_id)
    details = [{"approver": {"userid": one}, "speech": "", "sp_status": 1, "sptime": 0} for one in approval.approvers]
    info: Json = {
        "sp_no": approval.sp_no,
        "sp_name": template.name if template else "",
        "sp_status": approval.sp_status,
        "template_id": approval.template_id,
        "apply_time": approval.apply_time,
        "applyer": {"userid": approval.userid, "partyid": str(approval.partyid)},
        "sp_record": [{"sp_status": 1, "approverattr": 1, "details": [detail]} for detail in details],
        "notifyer": [{"userid": userid} for userid in approval.notifyer],
        "apply_data": {"contents": approval.contents},
        "comments": [],
    }
    return {"info": info}


@endpoint("POST", "corp/getapprovaldata", APP, empty=("data",))
def getapprovaldata(call: Call) -> Json:
    """The older way: all of them at once, a hundred a page; `next_spnum`: the first of the next page. Page 91530."""
    check_right(call, APPROVAL, _NO_RIGHT)
    start, end = call.number("starttime"), call.number("endtime")
    if start <= 0 or end < start or end - start > _DAYS_MOST * DAY:
        raise ApiError(_WRONG)
    found = [one for one in call.company.office.approvals if start <= one.apply_time <= end]
    left = [one for one in found if _number(one) >= call.number("next_spnum")]
    page, rest = left[:_SIZE_MOST], left[_SIZE_MOST:]
    answer: Json = {"count": len(page), "total": len(found), "data": [_older(call, one) for one in page]}
    return answer | ({"next_spnum": _number(rest[0])} if rest else {})


def _older(call: Call, approval: Approval) -> Json:
    template = call.company.office.template(approval.template_id)
    department = call.company.directory.departments.get(approval.partyid)
    return {
        "spname": template.name if template else "",
        "apply_name": _name(call, approval.userid),
        "apply_org": department.name if department else "",
        "approval_name": [_name(call, userid) for userid in approval.approvers],
        "notify_name": [_name(call, userid) for userid in approval.notifyer],
        "sp_status": approval.sp_status,
        "sp_num": approval.sp_no,
        "apply_time": approval.apply_time,
        "apply_user_id": approval.userid,
        "comm": {"apply_data": json.dumps(approval.contents, ensure_ascii=False)},
    }


def _number(approval: Approval) -> int:
    """Numbers of approvals are digits; one that a seed spelt otherwise stands first."""
    return read_integer(approval.sp_no) or 0


def _name(call: Call, userid: str) -> str:
    member = call.company.directory.find(userid)
    return member.name if member is not None else userid


def _template(call: Call) -> ApprovalTemplate:
    """Raises ApiError 301025 for none, 301026 for an unknown one."""
    template = call.company.office.template(call.text("template_id", missing=_WRONG))
    if template is None:
        raise ApiError(_NO_TEMPLATE)
    return template


def _position(call: Call) -> int:
    """Where the page before ended. Raises ApiError 50100."""
    if "new_cursor" not in call.document:
        return max(0, call.number("cursor"))
    position = cursors.read(call.text("new_cursor"), "oa/getapprovalinfo", call.company.corpid)
    if position is None:
        raise ApiError(50100)
    return position


def _fits(approval: Approval, filters: list[Json]) -> bool:
    """Raises ApiError for a filter that there is not."""
    for one in filters:
        name = _FILTERS.get(fields.text(one, "key"))
        if name is None:
            raise ApiError(_WRONG)
        if str(getattr(approval, name)).lower() != fields.text(one, "value").lower():
            return False
    return True
