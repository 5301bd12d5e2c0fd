"""What user/create and user/update refuse.

Numbers: WeCom's table of errors (90313) [2]. Lengths: the pages of both calls (90195, 90197) [2]; where they name no
number, 40058 is assumed. A member stands in 100 departments at most by the page, in 20 by the table: 20 is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wecom_sandbox.api.call import Call
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import fields
from wecom_sandbox.state.directory import ACTIVE, Member, is_userid

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
            raise fields.invalid(name)
    if not _TELEPHONE.fullmatch(call.text("telephone")):
        raise fields.invalid("telephone")


def _check_unique(call: Call, old: Member | None, name: str, value: str, wrong: int) -> None:
    """Raises ApiError `wrong` for what another member has."""
    if value and any(old is None or one != old.folded for one in call.company.directory.holders(name, value)):
        raise ApiError(wrong)
