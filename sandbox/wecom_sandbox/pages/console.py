"""The console: what a company's administrator sees in WeCom, and the sandbox's own faults and logs."""

from __future__ import annotations

from itertools import islice

from aiohttp import web

from wecom_sandbox.api.call import ENDPOINTS, OPEN_ENDPOINTS
from wecom_sandbox.http.typed import read_integer
from wecom_sandbox.pages import rendering
from wecom_sandbox.pages.bubbles import read_time
from wecom_sandbox.pages.rendering import gettext_noop as _
from wecom_sandbox.pages.rendering import render
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import ACTIVE, DISABLED, Department
from wecom_sandbox.state.world import WORLD, App, Company

FAULT_LABELS = {
    "busy": _("system busy (-1), nothing done"),
    "errcode": _("an errcode that you choose, nothing done"),
    "token_revoked": _("the token is revoked (40014)"),
    "rate_limited": _("called too often (45009)"),
    "concurrent": _("too many calls at once (45033)"),
    "ip_refused": _("IP not trusted (60020)"),
    "http_500": _("HTTP 500"),
    "html": _("a page instead of JSON"),
    "broken_json": _("JSON that ends in the middle"),
    "wrong_json_warning": _("done, with a warning about the JSON"),
    "hang": _("no answer"),
    "slow": _("slow answer"),
    "drip": _("answer byte by byte"),
    "close_before": _("connection closed before it was done"),
    "close_after": _("done, then the connection closed: the answer is lost"),
    "duplicate_callback": _("an event delivered twice"),
}
# Upper limit of ?from=: beyond the end of any list.
_PLACE_MOST = 10**9
_SHOWN_PEOPLE, _SHOWN_RECORDS, _SHOWN_DEPARTMENTS, _APP_PAGE_DEPARTMENTS = 50, 100, 200, 40
_SHOWN_MISSING = 20


def add_routes(app: web.Application) -> None:
    app.router.add_get("/console", show_companies)
    app.router.add_get("/console/faults", show_faults)
    app.router.add_get("/console/log", show_log)
    app.router.add_get("/console/{corpid}", show_company)
    app.router.add_get("/sandbox/verification/{corpid}/{agentid}", download_verification_file)
    app.router.add_get("/console/{corpid}/members", show_members)
    app.router.add_get("/console/{corpid}/apps/{agentid}", show_app)


async def show_companies(request: web.Request) -> web.StreamResponse:
    found = list(request.app[WORLD].companies.values())
    return render(request, "console/companies.html", {"companies": found, "company": None, "section": "companies"})


async def show_company(request: web.Request) -> web.StreamResponse:
    """Show one company: its id, apps, departments and sync assistant."""
    found = _find_company(request)
    values = {
        "company": found,
        "departments": _list_departments(found, _SHOWN_DEPARTMENTS),
        "department_count": len(found.directory.departments),
    }
    return render(request, "console/company.html", values | {"section": "company"})


async def show_members(request: web.Request) -> web.StreamResponse:
    """Show members, to let them join, move, leave or be disabled. ?q= searches, ?from= continues."""
    found, query, start = _find_company(request), request.query.get("q", ""), _read_start(request)
    # One more than is shown, to know whether there are more.
    shown = rendering.search_members(found, query, most=_SHOWN_PEOPLE + 1, start=start)
    values = {
        "company": found,
        "people": shown[:_SHOWN_PEOPLE],
        "more": start + _SHOWN_PEOPLE if len(shown) > _SHOWN_PEOPLE else 0,
        "count": len(found.directory.members),
        "departments": _list_departments(found, _SHOWN_DEPARTMENTS),
        "q": query,
        "active": ACTIVE,
        "disabled": DISABLED,
    }
    return render(request, "console/members.html", values | {"section": "members"})


async def show_app(request: web.Request) -> web.StreamResponse:
    """Show one app with everything that WeCom's page of a self-built app has."""
    found = _find_company(request)
    app = _find_app(request, found)
    world = request.app[WORLD]
    now = world.now()
    waiting = {ip: round(at - now) for ip, at in app.ip_effective_at.items() if at > now}
    values = {
        "company": found,
        "app": app,
        "file": administration.make_verification_file_name(found, app),
        "waiting": waiting,
        "unchecked": app.trusted_ips is None and not world.settings.trusted_ips_required,
        "departments": _list_departments(found, _APP_PAGE_DEPARTMENTS),
        "section": "company",
    }
    return render(request, "console/app.html", values)


async def show_faults(request: web.Request) -> web.StreamResponse:
    world = request.app[WORLD]
    endpoints = sorted([*ENDPOINTS, *OPEN_ENDPOINTS, "callback"])
    active = [(fault, FAULT_LABELS[fault.kind]) for fault in world.faults.active]
    values = {"faults": active, "kinds": FAULT_LABELS, "endpoints": endpoints, "company": None, "section": "faults"}
    return render(request, "console/faults.html", values | {"settings": world.settings, "now": read_time(world.now())})


async def show_log(request: web.Request) -> web.StreamResponse:
    """Show missing paths and the last calls and callbacks, newest first; ?from= continues with older ones."""
    world, start = request.app[WORLD], _read_start(request)
    end = start + _SHOWN_RECORDS
    recent = islice(reversed(world.calls), start, end)
    calls = [(read_time(one.at), one, FAULT_LABELS.get(one.fault, "")) for one in recent]
    callbacks = [(read_time(one.at), one) for one in islice(reversed(world.outbox.log), start, end)]
    more = end if max(len(world.calls), len(world.outbox.log)) > end else 0
    values = {"calls": calls, "callbacks": callbacks, "more": more, "company": None, "section": "log"}
    missing = [] if start else world.missing.as_json()[:_SHOWN_MISSING]
    return render(request, "console/log.html", values | {"missing": missing})


async def download_verification_file(request: web.Request) -> web.StreamResponse:
    """Return the verification file for the trusted domain."""
    found = _find_company(request)
    name = administration.make_verification_file_name(found, _find_app(request, found))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text=name.removeprefix("WW_verify_").removesuffix(".txt"), headers=headers)


def _list_departments(found: Company, most: int) -> list[tuple[str, Department]]:
    """Return the tree from its root, each department with the white space that shows its depth."""
    return [("\u3000" * depth, one) for depth, one in islice(found.directory.tree(), most)]


def _read_start(request: web.Request) -> int:
    """Return the place from which a list continues: ?from=, or 0 if it is not a number."""
    return min(max(0, read_integer(request.query.get("from", "")) or 0), _PLACE_MOST)


def _find_company(request: web.Request) -> Company:
    found = request.app[WORLD].companies.get(request.match_info["corpid"])
    if found is None:
        raise web.HTTPNotFound(text="no such company\n")
    return found


def _find_app(request: web.Request, company: Company) -> App:
    text = request.match_info["agentid"]
    app = company.apps.get(int(text)) if text.isdecimal() and len(text) < 12 else None
    if app is None:
        raise web.HTTPNotFound(text="no such app\n")
    return app
