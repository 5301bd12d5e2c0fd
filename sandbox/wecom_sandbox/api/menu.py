"""The menu at the foot of an app's conversation."""

from __future__ import annotations

from wecom_sandbox.api.agent import own_agent
from wecom_sandbox.api.call import APP, Call, Json, endpoint
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state import menus


@endpoint("POST", "menu/create", APP)
def menu_create(call: Call) -> Json:
    buttons = menus.buttons_of(call.document)
    own_agent(call, call.query.get("agentid")).menu = {"button": buttons}
    return {}


@endpoint("GET", "menu/get", APP)
def menu_get(call: Call) -> Json:
    app = own_agent(call, call.query.get("agentid"))
    if app.menu is None:
        raise ApiError(46003)
    return dict(app.menu)


@endpoint("GET", "menu/delete", APP)
def menu_delete(call: Call) -> Json:
    own_agent(call, call.query.get("agentid")).menu = None
    return {}
