"""Actions of a company's administrator in WeCom's console: companies, departments, members, tags, apps.

The console page and the control interface both use them. Values are JSON; errors are ValueError and KeyError.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import typed
from wecom_sandbox.messages import content
from wecom_sandbox.state import bi as bi_state
from wecom_sandbox.state import changes
from wecom_sandbox.state.changes import Announcer
from wecom_sandbox.state.directory import ROOT_DEPARTMENT, Department, Member, Tag, fold_id
from wecom_sandbox.state.world import App, Company, Robot, World, run_at_once

Json = dict[str, object]
MENU_TYPES = frozenset(
    {
        "click",
        "view",
        "scancode_push",
        "scancode_waitmsg",
        "pic_sysphoto",
        "pic_photo_or_album",
        "pic_weixin",
        "location_select",
        "view_miniprogram",
    }
)
_HTTP = re.compile(r"https?://\S+", re.IGNORECASE)
# Errors of a top entry and of a sub-entry: type, name, key, url.
_TOP_ERRORS, _SUB_ERRORS = (40017, 40018, 40019, 40020), (40024, 40025, 40026, 40027)
_TOP_NAME_BYTES, _SUB_NAME_BYTES, _KEY_BYTES, _URL_BYTES = 16, 40, 128, 1024


def check_menu(menu: Json) -> list[Json]:
    """Check a menu and return its entries. Raise ApiError."""
    buttons = content.read_objects(menu, "button", least=1, most=3, errcode=40016)
    for button in buttons:
        if button.get("sub_button"):
            _check_menu_name(button, _TOP_NAME_BYTES, 40018)
            for below in content.read_objects(button, "sub_button", least=1, most=5, errcode=40023):
                if below.get("sub_button"):
                    raise ApiError(40022)
                _check_menu_entry(below, _SUB_NAME_BYTES, _SUB_ERRORS)
        else:
            _check_menu_entry(button, _TOP_NAME_BYTES, _TOP_ERRORS)
    return buttons


def _check_menu_entry(button: Json, name_bytes: int, codes: tuple[int, int, int, int]) -> None:
    bad_type, bad_name, bad_key, bad_url = codes
    kind = content.read_text(button, "type", missing=bad_type)
    if kind not in MENU_TYPES:
        raise ApiError(bad_type)
    _check_menu_name(button, name_bytes, bad_name)
    if kind == "view":
        url = content.read_text(button, "url", missing=bad_url)
        if len(url.encode()) > _URL_BYTES:
            raise ApiError(bad_url)
        if not _HTTP.fullmatch(url):
            raise ApiError(40094)
    elif kind == "view_miniprogram":
        content.read_text(button, "appid", missing=42030)
        content.read_text(button, "pagepath", missing=bad_url)
    else:
        content.read_key(button, "key", missing=bad_key, errcode=bad_key, most=_KEY_BYTES)


def _check_menu_name(button: Json, most: int, errcode: int) -> None:
    if not 1 <= len(content.read_text(button, "name", missing=errcode).encode()) <= most:
        raise ApiError(errcode)


def check_app_menu(row: object, *, path: str) -> None:
    """Check the menu in an app's row. Raise ValueError that names the field."""
    menu = row.get("menu") if isinstance(row, Mapping) else None
    try:
        if isinstance(menu, dict):
            check_menu(menu)
    except ApiError as error:
        raise ValueError(f"{path}.menu: {error.code} {error.text}") from error


_LETTERS = string.ascii_letters + string.digits
T = TypeVar("T", Department, Tag)
_CORPID = re.compile(r"(ww|wx)[0-9A-Za-z]{4,62}")
COMPANY_FIELDS = frozenset(
    {"corpid", "name", "contacts_secret", "contacts_callback", "contacts_old_ips", "account_limit"}
)
Steps = Generator[None, None, None]
_LIST_FIELDS = ("departments", "members", "tags", "apps", "robots")
APP_FIELDS = frozenset(App.__slots__) - {"ip_effective_at"}


def make_secret() -> str:
    """Make a secret of 43 characters, as long as WeCom's."""
    return secrets.token_urlsafe(32)


def put_company(world: World, values: object) -> Company:
    """Create a company with everything in it, or replace the one with this corpid. Raise ValueError."""
    return run_at_once(put_company_in_steps(world, values))


def put_company_in_steps(world: World, values: object) -> Generator[None, None, Company]:
    """Do the work of `put_company`, one step for each row. The last step stores the company."""
    if not isinstance(values, Mapping):
        raise ValueError("a company must be an object")
    own = {name: value for name, value in values.items() if name not in _LIST_FIELDS}
    company = typed.build(Company, own, path="company", allowed=COMPANY_FIELDS)
    if not _CORPID.fullmatch(company.corpid):
        raise ValueError("corpid must be ww (or wx) and 4 to 62 letters or digits")
    yield from _put_departments(company, _read_rows(values, "departments"), None)
    yield from _put_members(company, _read_rows(values, "members"), None)
    yield from _put_tags(company, _read_rows(values, "tags"), None)
    _put_apps(company, _read_rows(values, "apps"))
    put_robots(company, _read_rows(values, "robots"))
    world.companies[company.corpid] = company
    return company


def change_company(company: Company, values: object) -> None:
    """Change only the given fields. Raise ValueError."""
    typed.merge(company, values, path="company", allowed=COMPANY_FIELDS - {"corpid"})


def remove_company(world: World, corpid: str) -> None:
    """Remove the company with its messages, groups, files and tokens. Raise KeyError."""
    del world.companies[corpid]
    world.mail.forget_company(corpid)
    world.media.forget_company(corpid)
    tables: list[dict[Any, Any]] = [world.chats, world.tokens, world.codes, world.user_tickets, world.js_tickets]
    for table in tables:
        for key in [key for key, one in table.items() if one.corpid == corpid]:
            del table[key]
    for consent in [one for one in world.consents if one[0] == corpid]:
        del world.consents[consent]


def put_departments(world: World, company: Company, rows: list[object]) -> int:
    """Add or change departments; parents may follow their children. Return how many."""
    announcer = Announcer(world, company)
    with announcer.announce_scope_changes():
        run_at_once(_put_departments(company, rows, announcer))
    return len(rows)


def remove_department(world: World, company: Company, number: int) -> None:
    """Remove an empty department, also from tags and scopes. Raise KeyError, or ValueError if it is the root or not
    empty. No update_tag event is sent: WeCom may leave it out, so an app must read the tag again."""
    old = company.directory.departments[number]
    company.directory.remove_department(number)
    for tag in company.directory.tags.values():
        tag.partyids = [one for one in tag.partyids if one != number]
    for app in company.apps.values():
        app.scope.partyids = [one for one in app.scope.partyids if one != number]
    company.forget_visibility()
    Announcer(world, company).announce_department(old, None)


def put_members(world: World, company: Company, rows: list[object]) -> int:
    """Add members, or change the given fields of known ones. Return how many."""
    announcer = Announcer(world, company)
    userids = (row.get("userid") for row in rows if isinstance(row, Mapping))
    with announcer.announce_scope_changes([one for one in userids if isinstance(one, str)]):
        run_at_once(_put_members(company, rows, announcer))
    return len(rows)


def remove_member(world: World, company: Company, userid: str) -> None:
    """Remove a member who leaves the company, also from tags and scopes, and empty the phone. Raise KeyError."""
    announcer = Announcer(world, company)
    with announcer.announce_scope_changes([userid]):
        member = company.directory.remove_member(userid)
        world.mail.inboxes.pop((company.corpid, member.folded), None)
        announcer.announce_member(member, None)
        _forget_person(world, company, member.folded, announcer)


def _forget_person(world: World, company: Company, folded: str, announcer: Announcer) -> None:
    """Remove a member from tags and scopes, and delete the member's codes, tickets and consents: somebody who gets
    the same userid later is another person."""
    for tag in list(company.directory.tags.values()):
        left = [one for one in tag.userids if fold_id(one) != folded]
        if len(left) < len(tag.userids):
            company.directory.put_tag(new := replace(tag, userids=left))
            announcer.announce_tag(tag, new)
    for app in company.apps.values():
        app.scope.userids = [one for one in app.scope.userids if fold_id(one) != folded]
    tables: list[dict[str, Any]] = [world.codes, world.user_tickets]
    for table in tables:
        for key, one in list(table.items()):
            if one.corpid == company.corpid and fold_id(one.userid) == folded:
                del table[key]
    for consent in [one for one in world.consents if (one[0], one[2]) == (company.corpid, folded)]:
        del world.consents[consent]


def rename_member(world: World, company: Company, userid: str, new_userid: str) -> None:
    """Give a member another userid. It is the same person: scopes, tags, groups and messages stay. Nobody enters or
    leaves a scope. Raise KeyError, or ValueError for a userid that is taken or wrong."""
    old = company.directory.members[fold_id(userid)]
    if fold_id(new_userid) != old.folded and company.directory.find(new_userid) is not None:
        raise ValueError(f"userid {new_userid} is taken")
    new = typed.build(Member, asdict(old) | {"userid": new_userid})
    company.directory.rename_member(old, new)
    changes.move_member_data(world, company, old, new)
    Announcer(world, company).announce_member(old, new)


def put_tags(world: World, company: Company, rows: list[object]) -> int:
    """Add or change tags. Return how many. Raise ValueError."""
    announcer = Announcer(world, company)
    with announcer.announce_scope_changes():
        run_at_once(_put_tags(company, rows, announcer))
    return len(rows)


def put_apps(world: World, company: Company, rows: list[object]) -> int:
    """Add apps, or change the given fields of known ones. A new app without a secret gets one."""
    with Announcer(world, company).announce_scope_changes():
        return _put_apps(company, rows)


def _put_departments(company: Company, rows: list[object], announcer: Announcer | None) -> Steps:
    known = company.directory.departments
    waiting: list[Department] = []
    for row in rows:
        waiting.append(_merge_row(known, "id", row, Department))
        yield
    while waiting:
        ready = [one for one in waiting if one.id == ROOT_DEPARTMENT or one.parentid in known]
        if not ready:
            raise ValueError(f"departments {[one.id for one in waiting]} have unknown parents")
        for department in ready:
            old = known.get(department.id)
            company.directory.put_department(department)
            if announcer is not None:
                announcer.announce_department(old, department)
            yield
        done = {department.id for department in ready}
        waiting = [one for one in waiting if one.id not in done]


def _put_members(company: Company, rows: list[object], announcer: Announcer | None) -> Steps:
    for row in rows:
        userid = row.get("userid") if isinstance(row, Mapping) else None
        old = company.directory.find(userid) if isinstance(userid, str) else None
        known = asdict(old) if old is not None else {}
        if isinstance(row, Mapping) and "department" in row:
            # Fields with one value for each department are reset with the departments.
            known = {k: v for k, v in known.items() if k not in {"order", "is_leader_in_dept", "main_department"}}
        values = known | dict(typed.check_fields(Member, row, path=f"member {userid}"))
        if old is not None:
            # The row may spell the userid in another case; the stored spelling stays.
            values["userid"] = old.userid
        member = typed.build(Member, values, path=f"member {userid}")
        company.directory.put_member(member)
        if announcer is not None:
            announcer.announce_member(old, member)
        yield


def _put_tags(company: Company, rows: list[object], announcer: Announcer | None) -> Steps:
    for row in rows:
        tag = _merge_row(company.directory.tags, "tagid", row, Tag)
        old = company.directory.tags.get(tag.tagid)
        company.directory.put_tag(tag)
        if announcer is not None:
            announcer.announce_tag(old, tag)
        yield


def _put_apps(company: Company, rows: list[object]) -> int:
    for row in rows:
        agentid = row.get("agentid") if isinstance(row, Mapping) else None
        check_app_menu(row, path=f"app {agentid}")
        old = company.apps.get(agentid) if isinstance(agentid, int) else None
        if old is not None:
            typed.merge(old, row, path=f"app {agentid}", allowed=APP_FIELDS)
            old.ip_effective_at.clear()  # IPs take effect at once; save_in_console then delays new ones
            continue
        values = {"secret": make_secret(), **row} if isinstance(row, Mapping) else row
        app = typed.build(App, values, path=f"app {agentid}", allowed=APP_FIELDS)
        company.apps[app.agentid] = app
    company.forget_visibility()
    return len(rows)


def put_robots(company: Company, rows: list[object]) -> int:
    """Add or replace robots by their keys. Return how many. Raise ValueError."""
    for row in rows:
        robot = typed.build(Robot, row, path="robot")
        company.robots[robot.key] = robot
    return len(rows)


def make_verification_file_name(company: Company, app: App) -> str:
    """Return the name of the file that proves who owns a trusted domain. The file's content is the code in its name."""
    digest = hashlib.sha256(f"{company.corpid}/{app.agentid}".encode()).digest()
    code = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:16])
    return f"WW_verify_{code}.txt"


def make_company_json(company: Company, rows: Callable[[Iterable[object]], object] = list) -> dict[str, object]:
    """Return the whole company in the form that `put_company` takes. `rows=iter`: each row is made when it is read."""
    directory = company.directory
    return {
        "corpid": company.corpid,
        "name": company.name,
        "contacts_secret": company.contacts_secret,
        "contacts_callback": asdict(company.contacts_callback),
        "contacts_old_ips": company.contacts_old_ips,
        "account_limit": company.account_limit,
        "departments": rows(asdict(department) for department in list(directory.departments.values())),
        "members": rows(asdict(member) for member in list(directory.members.values())),
        "tags": rows(asdict(tag) for tag in list(directory.tags.values())),
        "apps": [make_app_json(app) for app in company.apps.values()],
        "robots": [asdict(robot) for robot in company.robots.values()],
    }


def make_app_json(app: App) -> dict[str, object]:
    return {name: value for name, value in asdict(app).items() if name in APP_FIELDS}


def load_seed(world: World, document: object) -> None:
    """Load a seed: {"companies": [...], "bi": {...}, "settings": {...}}. Replace everything that it contains."""
    run_at_once(load_seed_in_steps(world, document))


def load_seed_in_steps(world: World, document: object) -> Steps:
    """Do the work of `load_seed`, one step for each row. Raise ValueError, possibly after some steps."""
    if not isinstance(document, Mapping) or set(document) - {"companies", "bi", "settings"}:
        raise ValueError('a seed is an object with "companies" and optionally "bi" and "settings"')
    world.settings.change(document.get("settings", {}))
    for values in _read_rows(document, "companies"):
        yield from put_company_in_steps(world, values)
    if "bi" in document:
        world.bi = bi_state.read_bi(document["bi"])


def dump_seed(world: World, rows: Callable[[Iterable[object]], object] = list) -> dict[str, object]:
    """Return a seed, without tokens, codes, messages and faults. `rows` as in `make_company_json`."""
    companies = [make_company_json(company, rows) for company in world.companies.values()]
    return {"settings": world.settings.as_json(), "bi": bi_state.make_bi_json(world.bi), "companies": rows(companies)}


def _read_rows(values: Mapping[str, object], name: str) -> list[object]:
    rows = values.get(name, [])
    if not isinstance(rows, list):
        raise ValueError(f"{name} must be a list")
    return rows


def _merge_row(known: Mapping[int, T], key: str, row: object, cls: type[T]) -> T:
    """Build an instance from the row, with the fields of the known one as defaults."""
    number = row.get(key) if isinstance(row, Mapping) else None
    old = known.get(number) if isinstance(number, int) else None
    values = typed.check_fields(cls, row, path=f"{cls.__name__.lower()} {number}")
    defaults = {name: getattr(old, name) for name in cls.__slots__} if old is not None else {}
    return typed.build(cls, defaults | values, path=f"{cls.__name__.lower()} {number}")
