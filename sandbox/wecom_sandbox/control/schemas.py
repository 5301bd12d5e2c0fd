"""JSON Schemas of what the control interface is given, most of them read off the classes of the state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from wecom_sandbox.limits.faults import GIVEN, KINDS, Fault
from wecom_sandbox.settings import Settings
from wecom_sandbox.state import administration
from wecom_sandbox.state.bi import Bi
from wecom_sandbox.state.directory import Department, Member, Tag
from wecom_sandbox.state.world import App, Company, Robot

Schema = dict[str, Any]
_PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    object: {},
}
TEXT, INTEGER, NUMBER, FLAG = (_PLAIN[kind] for kind in (str, int, float, bool))
TEXT_OR_INTEGER: Schema = {"type": ["string", "integer"]}
ANY_OBJECT: Schema = {"type": "object"}
# The query of a list.
PAGE: dict[str, Schema] = {"after": {"type": "integer", "minimum": 0}, "limit": {"type": "integer", "minimum": 1}}


def an_object(required: Iterable[str] = (), **properties: Schema) -> Schema:
    """An object of these fields and no others."""
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})


def rows(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def page(name: str) -> Schema:
    """An answer of rows: `after` is asked for next."""
    return an_object(**{name: rows(ANY_OBJECT)}, after=INTEGER, more=FLAG, missed=INTEGER)


def of(cls: type, *, only: Iterable[str] | None = None, required: Iterable[str] | None = None) -> Schema:
    """The public fields of a dataclass, or `only` these of them; `required` unless told: those without a default."""
    hints = get_type_hints(cls)
    wanted = set(hints) if only is None else set(only)
    public = [one for one in fields(cls) if not one.name.startswith("_") and one.name in wanted]
    needed = [one.name for one in public if one.default is MISSING and one.default_factory is MISSING]
    properties = {one.name: _schema(hints[one.name]) for one in public}
    return an_object(needed if required is None else required, **properties)


def _schema(hint: Any) -> Schema:
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        inner = _schema(next(one for one in arguments if one is not type(None)))
        return {"anyOf": [inner, {"type": "null"}]}
    if get_origin(hint) is list:
        return rows(_schema(arguments[0]))
    if get_origin(hint) is dict:
        return ANY_OBJECT
    return of(hint) if is_dataclass(hint) and isinstance(hint, type) else _PLAIN[hint]


DEPARTMENTS, MEMBERS, TAGS, ROBOTS, APPS = (
    rows(of(cls, only=only, required=[key]))
    for cls, key, only in (
        (Department, "id", None),
        (Member, "userid", None),
        (Tag, "tagid", None),
        (Robot, "key", None),
        (App, "agentid", administration.APP_FIELDS),
    )
)
COMPANY_CHANGES = of(Company, only=administration.COMPANY_FIELDS - {"corpid"}, required=())
COMPANY = of(Company, only=administration.COMPANY_FIELDS)
COMPANY["properties"] |= {
    **{"departments": DEPARTMENTS, "members": MEMBERS, "tags": TAGS},
    **{"apps": APPS, "robots": ROBOTS},
}
APP_CHANGES = of(App, only=administration.APP_FIELDS - {"agentid"}, required=())
SETTINGS = of(Settings, required=())
BI = of(Bi)
SEED = an_object(["companies"], companies=rows(COMPANY), bi=BI, settings=SETTINGS)
FAULT = of(Fault, only=GIVEN)
FAULT["properties"]["kind"] = {"enum": list(KINDS)}
