"""The control interface: everything that a test or a seeding program does to the sandbox, as JSON over HTTP.

Documented in docs/sandbox.md. A write needs Content-Type application/json, which a page of another site cannot send
without the sandbox's leave.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from integrations.sandbox import administration
from integrations.sandbox.api import token
from integrations.sandbox.faults import KINDS, Fault
from integrations.sandbox.keys import WORLD
from integrations.sandbox.pages.targets import Refused, with_code
from integrations.sandbox.pages.visits import Visit, code_for
from integrations.sandbox.world import Company, World

Handler = Callable[[web.Request, World, Any], Awaitable[object]]
_ROUTES: list[tuple[str, str, Handler]] = []


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _ROUTES.append((method, f"/sandbox/api/{path}", handler))
        return handler

    return register


def add_routes(app: web.Application) -> None:
    for method, path, handler in _ROUTES:
        app.router.add_route(method, path, _as_http(handler))


def _as_http(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """JSON in and out; ValueError is 400, KeyError 404, both with {"error": …}."""

    async def answer(request: web.Request) -> web.StreamResponse:
        document: object = None
        if request.method != "GET":
            if request.content_type != "application/json":
                return _answer({"error": "Content-Type must be application/json"}, 415)
            try:
                document = json.loads(await request.read() or b"null")
            except ValueError:
                return _answer({"error": "the body is not JSON"}, 400)
        try:
            return _answer(await handler(request, request.app[WORLD], document), 200)
        except ValueError as error:
            return _answer({"error": str(error)}, 400)
        except KeyError as error:
            return _answer({"error": f"there is no {error.args[0] if error.args else 'such thing'}"}, 404)

    return answer


def _answer(document: object, status: int) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


def _company(request: web.Request, world: World) -> Company:
    return world.companies[request.match_info["corpid"]]


def _agentid(request: web.Request) -> int:
    text = request.match_info["agentid"]
    if not text.isdecimal():
        raise KeyError(text)
    return int(text)


def _list(document: object) -> list[object]:
    if not isinstance(document, list):
        raise ValueError("the body must be a list")
    return document


def _object(document: object, *names: str) -> dict[str, Any]:
    """The body as an object that has no other names than these."""
    if document is None:
        return {}
    if not isinstance(document, dict) or set(document) - set(names):
        raise ValueError(f"the body must be an object of {', '.join(names)}")
    return document


# --- the whole -------------------------------------------------------------------------------------------------------


@route("GET", "health")
async def health(request: web.Request, world: World, document: object) -> object:
    return {"sandbox": True, "companies": len(world.companies)}


@route("GET", "state")
async def get_state(request: web.Request, world: World, document: object) -> object:
    return administration.dump(world)


@route("PUT", "state")
async def put_state(request: web.Request, world: World, document: object) -> object:
    """Replace everything by a seed."""
    fresh = World()
    administration.load(fresh, document)
    world.reset()
    administration.load(world, document)
    return {"companies": len(world.companies)}


@route("POST", "reset")
async def reset(request: web.Request, world: World, document: object) -> object:
    """Forget what happened; with {"companies": true} the companies and settings as well."""
    if _object(document, "companies").get("companies"):
        world.reset()
    else:
        world.forget()
    return {}


@route("GET", "settings")
async def get_settings(request: web.Request, world: World, document: object) -> object:
    return world.settings.as_json()


@route("PATCH", "settings")
async def patch_settings(request: web.Request, world: World, document: Any) -> object:
    world.settings.change(_object(document, *world.settings.as_json()))
    return world.settings.as_json()


@route("GET", "clock")
async def get_clock(request: web.Request, world: World, document: object) -> object:
    return {"now": world.now()}


@route("POST", "clock/advance")
async def advance(request: web.Request, world: World, document: Any) -> object:
    seconds = _object(document, "seconds").get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError("seconds must be a number")
    world.clock.advance(seconds)
    return {"now": world.now()}


@route("GET", "calls")
async def get_calls(request: web.Request, world: World, document: object) -> object:
    """Oldest first. ?endpoint=message/send leaves the others out."""
    wanted = request.query.get("endpoint", "")
    records = [record for record in world.calls if not wanted or record.path == f"/cgi-bin/{wanted}"]
    return {"calls": [record.as_json() for record in records]}


@route("DELETE", "calls")
async def delete_calls(request: web.Request, world: World, document: object) -> object:
    world.calls.clear()
    return {}


@route("GET", "faults")
async def get_faults(request: web.Request, world: World, document: object) -> object:
    return {"faults": [fault.as_json() for fault in world.faults.active], "kinds": KINDS}


@route("POST", "faults")
async def post_fault(request: web.Request, world: World, document: Any) -> object:
    fault = Fault.from_json(_object(document, *Fault.__slots__[:-1]))
    world.faults.add(fault)
    return fault.as_json()


@route("DELETE", "faults")
async def delete_faults(request: web.Request, world: World, document: object) -> object:
    return {"removed": world.faults.clear()}


@route("DELETE", "faults/{id}")
async def delete_fault(request: web.Request, world: World, document: object) -> object:
    text = request.match_info["id"]
    if not text.isdecimal() or not world.faults.clear(int(text)):
        raise KeyError(text)
    return {"removed": 1}


# --- one company -----------------------------------------------------------------------------------------------------


@route("GET", "companies")
async def get_companies(request: web.Request, world: World, document: object) -> object:
    rows = [{"corpid": one.corpid, "name": one.name, "members": len(one.directory.members)} for one in _all(world)]
    return {"companies": rows}


def _all(world: World) -> list[Company]:
    return list(world.companies.values())


@route("POST", "companies")
async def post_company(request: web.Request, world: World, document: Any) -> object:
    return administration.company_as_json(administration.put_company(world, document))


@route("GET", "companies/{corpid}")
async def get_company(request: web.Request, world: World, document: object) -> object:
    return administration.company_as_json(_company(request, world))


@route("PATCH", "companies/{corpid}")
async def patch_company(request: web.Request, world: World, document: Any) -> object:
    company = _company(request, world)
    administration.change_company(company, document)
    return administration.company_as_json(company)


@route("DELETE", "companies/{corpid}")
async def delete_company(request: web.Request, world: World, document: object) -> object:
    del world.companies[request.match_info["corpid"]]
    return {}


@route("POST", "companies/{corpid}/departments")
async def post_departments(request: web.Request, world: World, document: Any) -> object:
    return {"count": administration.put_departments(_company(request, world), _list(document))}


@route("DELETE", "companies/{corpid}/departments/{id}")
async def delete_department(request: web.Request, world: World, document: object) -> object:
    text = request.match_info["id"]
    if not text.isdecimal() or int(text) not in _company(request, world).directory.departments:
        raise KeyError(text)
    _company(request, world).directory.remove_department(int(text))
    return {}


@route("POST", "companies/{corpid}/members")
async def post_members(request: web.Request, world: World, document: Any) -> object:
    return {"count": administration.put_members(_company(request, world), _list(document))}


@route("DELETE", "companies/{corpid}/members/{userid}")
async def delete_member(request: web.Request, world: World, document: object) -> object:
    _company(request, world).directory.remove_member(request.match_info["userid"])
    return {}


@route("POST", "companies/{corpid}/tags")
async def post_tags(request: web.Request, world: World, document: Any) -> object:
    return {"count": administration.put_tags(_company(request, world), _list(document))}


@route("POST", "companies/{corpid}/robots")
async def post_robots(request: web.Request, world: World, document: Any) -> object:
    return {"count": administration.put_robots(_company(request, world), _list(document))}


@route("POST", "companies/{corpid}/apps")
async def post_apps(request: web.Request, world: World, document: Any) -> object:
    company = _company(request, world)
    administration.put_apps(company, _list(document))
    return {"apps": [administration.app_as_json(app) for app in company.apps.values()]}


@route("PATCH", "companies/{corpid}/apps/{agentid}")
async def patch_app(request: web.Request, world: World, document: Any) -> object:
    app = _company(request, world).apps[_agentid(request)]
    administration.put_apps(_company(request, world), [{**_object(document, *_APP_NAMES), "agentid": app.agentid}])
    return administration.app_as_json(app)


_APP_NAMES = tuple(sorted(administration.APP_FIELDS - {"agentid"}))


@route("POST", "companies/{corpid}/apps/{agentid}/invalidate")
async def invalidate(request: web.Request, world: World, document: Any) -> object:
    """Spoil the app's tokens: {"code": 40014} (default) or {"code": 42001}."""
    app = _company(request, world).apps[_agentid(request)]
    code = _object(document, "code").get("code", 40014)
    if code not in (40014, 42001):
        raise ValueError("code must be 40014 or 42001")
    return {"tokens": token.invalidate(world, _company(request, world).corpid, app.agentid, code=code)}


# --- one person ------------------------------------------------------------------------------------------------------


def _person(request: web.Request, world: World) -> tuple[Company, str]:
    company = _company(request, world)
    member = company.directory.find(request.match_info["userid"])
    if member is None:
        raise KeyError(request.match_info["userid"])
    return company, member.folded


@route("GET", "companies/{corpid}/members/{userid}")
async def get_member(request: web.Request, world: World, document: object) -> object:
    company, folded = _person(request, world)
    return asdict(company.directory.members[folded])


@route("GET", "companies/{corpid}/members/{userid}/messages")
async def get_messages(request: web.Request, world: World, document: object) -> object:
    """What stands on this person's phone, oldest first."""
    company, folded = _person(request, world)
    return {"messages": [message.as_json(folded) for message in world.mail.inbox(company.corpid, folded)]}


@route("GET", "companies/{corpid}/messages")
async def get_company_messages(request: web.Request, world: World, document: object) -> object:
    """All messages that are still kept, oldest first, with their receivers and whom WeCom dropped."""
    corpid = _company(request, world).corpid
    return {"messages": [one.as_json() for one in world.mail.messages.values() if one.corpid == corpid]}


@route("POST", "companies/{corpid}/members/{userid}/authorize")
async def authorize(request: web.Request, world: World, document: Any) -> object:
    """The person's browser passes the authorise page: {"redirect_uri", "state", "agentid", "scope"}."""
    company, folded = _person(request, world)
    values = _object(document, "redirect_uri", "state", "agentid", "scope")
    visit = Visit.from_query(
        {"appid": company.corpid, "response_type": "code", "scope": "snsapi_base"}
        | {name: str(value) for name, value in values.items()}
    )
    try:
        target = visit.checked(world, web_login=False)
    except Refused as refused:
        raise ValueError(refused.text) from refused
    code = code_for(world, target, company.directory.members[folded].userid)
    return {"code": code, "url": with_code(visit.redirect_uri, code, visit.state)}
