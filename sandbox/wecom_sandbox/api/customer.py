"""Customers (外部联系人): only what tells an app who somebody outside the company is. Pages 92571, 92113, 92114."""

from __future__ import annotations

from wecom_sandbox.api.call import APP, Call, Json, endpoint
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state.directory import Member
from wecom_sandbox.state.office import Customer


@endpoint("GET", "externalcontact/get_follow_user_list", APP, empty=("follow_user",))
def get_follow_user_list(call: Call) -> Json:
    """Members of the app's scope who have customers."""
    found = {one.userid: None for customer in call.company.office.customers for one in followers(call, customer)}
    return {"follow_user": list(found)}


@endpoint("GET", "externalcontact/list", APP, empty=("external_userid",))
def externalcontact_list(call: Call) -> Json:
    """The customers of a member; 84061 for one who has none."""
    userid = call.query.get("userid", "")
    if not userid:
        raise ApiError(41009)
    member = call.company.directory.find(userid)
    if member is None:
        raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
    if not call.company.visibility(call.own_app).sees(member):
        raise ApiError(60011)
    found = [one.external_userid for one in call.company.office.customers if member in followers(call, one)]
    if not found:
        raise ApiError(84061)
    return {"external_userid": found}


@endpoint("GET", "externalcontact/get", APP)
def externalcontact_get(call: Call) -> Json:
    wanted = call.query.get("external_userid", "")
    if not wanted:
        raise ApiError(41035)
    customer = next((one for one in call.company.office.customers if one.external_userid == wanted), None)
    if customer is None:
        raise ApiError(40096)
    known_to = followers(call, customer)
    if not known_to:
        raise ApiError(84061)
    shown = {"external_userid": wanted, "name": customer.name, "avatar": customer.avatar, "type": 1}
    rows = [{"userid": one.userid, "remark": customer.remark, "createtime": 0, "tags": []} for one in known_to]
    return {"external_contact": shown | {"gender": customer.gender}, "follow_user": rows}


def customer_of(call: Call, openid: str) -> Customer | None:
    """The customer behind an openid, where a member of the app's scope knows her."""
    found = next((one for one in call.company.office.customers if one.openid and one.openid == openid), None)
    return found if found is not None and followers(call, found) else None


def followers(call: Call, customer: Customer) -> list[Member]:
    """The members of the app's scope who know the customer."""
    found = [call.company.directory.find(userid) for userid in customer.follow_users]
    visible = call.company.visibility(call.own_app)
    return [member for member in found if member is not None and visible.sees(member)]
