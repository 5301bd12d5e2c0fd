"""What a company's administrator does in WeCom's console: companies, departments, members, tags, apps.

The console page and the control interface both come here. Values are JSON; errors are ValueError and KeyError.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import TypeVar

from integrations.sandbox import typed
from integrations.sandbox.directory import Department, Member, Tag
from integrations.sandbox.world import App, Company, Robot, World

T = TypeVar("T", Department, Tag)
_CORPID = re.compile(r"(ww|wx)[0-9A-Za-z]{4,62}")
_COMPANY_FIELDS = frozenset({"corpid", "name", "contacts_secret", "contacts_callback", "contacts_old_ips"}) | {
    "account_limit"
}
_LISTS = ("departments", "members", "tags", "apps", "robots")
APP_FIELDS = frozenset(App.__slots__) - {"ip_effective_at"}


def new_secret() -> str:
    """43 characters, as WeCom's secrets have."""
    return secrets.token_urlsafe(32)


def put_company(world: World, values: object) -> Company:
    """Create a company, or replace the one with this corpid, with everything in it."""
    if not isinstance(values, Mapping):
        raise ValueError("a company must be an object")
    own = {name: value for name, value in values.items() if name not in _LISTS}
    company = typed.build(Company, own, path="company", allowed=_COMPANY_FIELDS)
    if not _CORPID.fullmatch(company.corpid):
        raise ValueError("corpid must be ww (or wx) and 4 to 62 letters or digits")
    put_departments(company, _rows(values, "departments"))
    put_members(company, _rows(values, "members"))
    put_tags(company, _rows(values, "tags"))
    put_apps(company, _rows(values, "apps"))
    put_robots(company, _rows(values, "robots"))
    world.companies[company.corpid] = company
    return company


def change_company(company: Company, values: object) -> None:
    typed.merge(company, values, path="company", allowed=_COMPANY_FIELDS - {"corpid"})


def put_departments(company: Company, rows: list[object]) -> int:
    """Add or change; parents may stand after their children in the list. Returns how many."""
    waiting = [_merged(company.directory.departments, "id", row, Department) for row in rows]
    count = len(waiting)
    while waiting:
        ready = [one for one in waiting if one.id == 1 or one.parentid in company.directory.departments]
        if not ready:
            raise ValueError(f"departments {[one.id for one in waiting]} hang on unknown parents")
        for department in ready:
            company.directory.put_department(department)
        done = {department.id for department in ready}
        waiting = [one for one in waiting if one.id not in done]
    return count


def put_members(company: Company, rows: list[object]) -> int:
    """Add or change; of a known member only the given fields change. Returns how many."""
    for row in rows:
        userid = row.get("userid") if isinstance(row, Mapping) else None
        old = company.directory.find(userid) if isinstance(userid, str) else None
        known = asdict(old) if old is not None else {}
        if isinstance(row, Mapping) and "department" in row:
            # Fields that follow the departments one by one start afresh with them.
            known = {k: v for k, v in known.items() if k not in {"order", "is_leader_in_dept", "main_department"}}
        values = known | dict(typed.check_fields(Member, row, path=f"member {userid}"))
        company.directory.put_member(typed.build(Member, values, path=f"member {userid}"))
    return len(rows)


def put_tags(company: Company, rows: list[object]) -> int:
    for row in rows:
        company.directory.put_tag(_merged(company.directory.tags, "tagid", row, Tag))
    return len(rows)


def put_apps(company: Company, rows: list[object]) -> int:
    """Add or change; of a known app only the given fields change. A new app without a secret gets one."""
    for row in rows:
        agentid = row.get("agentid") if isinstance(row, Mapping) else None
        old = company.apps.get(agentid) if isinstance(agentid, int) else None
        if old is not None:
            typed.merge(old, row, path=f"app {agentid}", allowed=APP_FIELDS)
            old.ip_effective_at.clear()
            continue
        values = {"secret": new_secret(), **row} if isinstance(row, Mapping) else row
        app = typed.build(App, values, path=f"app {agentid}", allowed=APP_FIELDS)
        company.apps[app.agentid] = app
    company.forget_visibility()
    return len(rows)


def put_robots(company: Company, rows: list[object]) -> int:
    for row in rows:
        robot = typed.build(Robot, row, path="robot")
        company.robots[robot.key] = robot
    return len(rows)


def company_as_json(company: Company) -> dict[str, object]:
    """The whole company in the form that `put_company` takes."""
    directory = company.directory
    return {
        "corpid": company.corpid,
        "name": company.name,
        "contacts_secret": company.contacts_secret,
        "contacts_callback": asdict(company.contacts_callback),
        "contacts_old_ips": company.contacts_old_ips,
        "account_limit": company.account_limit,
        "departments": [asdict(department) for department in directory.departments.values()],
        "members": [asdict(member) for member in directory.members.values()],
        "tags": [asdict(tag) for tag in directory.tags.values()],
        "apps": [app_as_json(app) for app in company.apps.values()],
        "robots": [asdict(robot) for robot in company.robots.values()],
    }


def app_as_json(app: App) -> dict[str, object]:
    return {name: value for name, value in asdict(app).items() if name in APP_FIELDS}


def load(world: World, document: object) -> None:
    """A seed file: {"companies": [...], "settings": {...}}. Companies of the same corpid are replaced."""
    if not isinstance(document, Mapping) or set(document) - {"companies", "settings"}:
        raise ValueError('a seed is an object with "companies" and optionally "settings"')
    world.settings.change(document.get("settings", {}))
    for values in _rows(document, "companies"):
        put_company(world, values)


def dump(world: World) -> dict[str, object]:
    """Everything that `load` takes; tokens, codes, messages and faults are not kept."""
    companies = [company_as_json(company) for company in world.companies.values()]
    return {"settings": world.settings.as_json(), "companies": companies}


def _rows(values: Mapping[str, object], name: str) -> list[object]:
    rows = values.get(name, [])
    if not isinstance(rows, list):
        raise ValueError(f"{name} must be a list")
    return rows


def _merged(known: Mapping[int, T], key: str, row: object, cls: type[T]) -> T:
    """A new instance from the row, laid over the known one with the same number."""
    number = row.get(key) if isinstance(row, Mapping) else None
    old = known.get(number) if isinstance(number, int) else None
    values = typed.check_fields(cls, row, path=f"{cls.__name__.lower()} {number}")
    before = {name: getattr(old, name) for name in cls.__slots__} if old is not None else {}
    return typed.build(cls, before | values, path=f"{cls.__name__.lower()} {number}")
