"""What an app shows on the workbench instead of its picture: for all, and for one member. Page 92535.

Lengths of the lists are the page's as SDKs quote them [1]; what a wrong type answers is not documented (40058) [m].
"""

from __future__ import annotations

from wecom_sandbox.api.agent import own_agent
from wecom_sandbox.api.call import APP, Call, Json, endpoint, texts
from wecom_sandbox.api.contacts import sees
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import fields
from wecom_sandbox.state.world import App

_NORMAL = "normal"
# type: how many items it has at most; None where it has none.
_TYPES: dict[str, int | None] = {"keydata": 4, "image": None, "list": 3, "webview": None}
_USERS_MOST = 1000


@endpoint("POST", "agent/set_workbench_template", APP)
def set_workbench_template(call: Call) -> Json:
    """`type` normal: the app's picture again. `replace_user_data`: what was set for single members is gone."""
    kind = call.text("type", missing=40058)
    template: Json = {"type": kind}
    if kind != _NORMAL:
        template |= _checked(call.document, kind, is_needed=False)
    replaces = call.document.get("replace_user_data", False)
    if not isinstance(replaces, bool):
        raise fields.invalid("replace_user_data")
    app = own_agent(call, call.document.get("agentid"))
    app.workbench = None if kind == _NORMAL else template | {"replace_user_data": replaces}
    if replaces or kind == _NORMAL:
        app.workbench_data.clear()
    return {}


@endpoint("POST", "agent/get_workbench_template", APP)
def get_workbench_template(call: Call) -> Json:
    app = own_agent(call, call.document.get("agentid"))
    return dict(app.workbench or {"type": _NORMAL})


@endpoint("POST", "agent/set_workbench_data", APP)
def set_workbench_data(call: Call) -> Json:
    userid = call.text("userid", missing=41009)
    app = own_agent(call, call.document.get("agentid"))
    _set(call, app, [userid], call.document)
    return {}


@endpoint("POST", "agent/batch_set_workbench_data", APP)
def batch_set_workbench_data(call: Call) -> Json:
    userids = texts(call.document.get("userid_list"), "userid_list", most=_USERS_MOST, too_many=40032)
    if not userids:
        raise ApiError(40031)
    app = own_agent(call, call.document.get("agentid"))
    _set(call, app, userids, fields.child(call.document, "data", missing=40058))
    return {}


def _set(call: Call, app: App, userids: list[str], document: Json) -> None:
    """For all of them or none. Raises ApiError 40058 unless the type is the template's, 60111 or 60011."""
    kind = fields.text(document, "type", missing=40058)
    if app.workbench is None or app.workbench["type"] != kind:
        raise fields.invalid("type")
    shown = {"type": kind} | _checked(document, kind, is_needed=True)
    folded = []
    for userid in userids:
        member = call.company.directory.find(userid)
        if member is None:
            raise ApiError(60111, f"invalid string value `{userid}`. userid not found")
        if not sees(call, member):
            raise ApiError(60011)
        folded.append(member.folded)
    for one in folded:
        app.workbench_data[one] = shown


def _checked(document: Json, kind: str, *, is_needed: bool) -> Json:
    """The part of this type. Raises ApiError."""
    if kind not in _TYPES:
        raise fields.invalid("type")
    part = fields.child(document, kind, missing=40058 if is_needed else None)
    most = _TYPES[kind]
    if not part:
        return {}
    if most is None:
        fields.link(part, "url", missing=41010)
        fields.link(part, "jump_url")
        return {kind: part}
    for item in fields.children(part, "items", least=1, most=most, wrong=40058):
        fields.text(item, "data" if kind == "keydata" else "title", missing=40058)
        fields.link(item, "jump_url")
    return {kind: part}
