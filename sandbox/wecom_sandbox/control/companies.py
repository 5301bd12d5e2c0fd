"""Control of companies: what an administrator does in WeCom's console, without its delays."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from wecom_sandbox.api import jssdk, token
from wecom_sandbox.callbacks.courier import COURIER
from wecom_sandbox.control import schemas
from wecom_sandbox.control.routes import app_of, as_list, as_object, company_of, number_in_path, route, text_of
from wecom_sandbox.control.schemas import TEXT_OR_INTEGER, an_object
from wecom_sandbox.control.steps import ROWS_AT_ONCE, between_calls, large_answer
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import Company, World

APP_NAMES = tuple(sorted(administration.APP_FIELDS - {"agentid"}))
_SIGNATURE = an_object(**dict.fromkeys(("signature", "noncestr", "timestamp", "url"), TEXT_OR_INTEGER))


@route("GET", "companies")
async def get_companies(request: web.Request, world: World, document: object) -> object:
    """The companies, each with the number of its members."""
    rows = [{"corpid": one.corpid, "name": one.name, "members": len(one.directory.members)} for one in _all(world)]
    return {"companies": rows}


def _all(world: World) -> list[Company]:
    return list(world.companies.values())


@route("POST", "companies", body=schemas.COMPANY)
async def post_company(request: web.Request, world: World, document: Any) -> object:
    """Create a company, or replace the one with this corpid, with everything in it."""
    company = await between_calls(administration.put_company_in_steps(world, document))
    return await large_answer(administration.company_as_json(company, iter))


@route("GET", "companies/{corpid}")
async def get_company(request: web.Request, world: World, document: object) -> object:
    """A whole company, as in a seed."""
    return await large_answer(administration.company_as_json(company_of(request, world), iter))


@route("PATCH", "companies/{corpid}", body=schemas.COMPANY_CHANGES)
async def patch_company(request: web.Request, world: World, document: Any) -> object:
    """Change the given fields of a company's own."""
    company = company_of(request, world)
    administration.change_company(company, document)
    return await large_answer(administration.company_as_json(company, iter))


@route("DELETE", "companies/{corpid}")
async def delete_company(request: web.Request, world: World, document: object) -> object:
    """Forget a company with everything in it."""
    administration.remove_company(world, request.match_info["corpid"])
    return {}


@route("POST", "companies/{corpid}/departments", body=schemas.DEPARTMENTS)
async def post_departments(request: web.Request, world: World, document: Any) -> object:
    """Add departments, or change the given fields of known ones."""
    return {"count": administration.put_departments(world, company_of(request, world), as_list(document))}


@route("DELETE", "companies/{corpid}/departments/{id}")
async def delete_department(request: web.Request, world: World, document: object) -> object:
    """Delete an empty department."""
    administration.remove_department(world, company_of(request, world), number_in_path(request, "id"))
    return {}


@route("POST", "companies/{corpid}/members", body=schemas.MEMBERS)
async def post_members(request: web.Request, world: World, document: Any) -> object:
    """Add members, or change the given fields of known ones, one by one: those before a wrong one are there."""
    company, rows = company_of(request, world), as_list(document)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        if world.companies.get(company.corpid) is not company:
            raise KeyError(company.corpid)
        administration.put_members(world, company, rows[start : start + ROWS_AT_ONCE])
        await asyncio.sleep(0)
    return {"count": len(rows)}


@route("DELETE", "companies/{corpid}/members/{userid}")
async def delete_member(request: web.Request, world: World, document: object) -> object:
    """The person leaves the company."""
    administration.remove_member(world, company_of(request, world), request.match_info["userid"])
    return {}


@route("POST", "companies/{corpid}/tags", body=schemas.TAGS)
async def post_tags(request: web.Request, world: World, document: Any) -> object:
    """Add tags, or change the given fields of known ones."""
    return {"count": administration.put_tags(world, company_of(request, world), as_list(document))}


@route("POST", "companies/{corpid}/robots", body=schemas.ROBOTS)
async def post_robots(request: web.Request, world: World, document: Any) -> object:
    """Add group robots, or replace them by their keys."""
    return {"count": administration.put_robots(company_of(request, world), as_list(document))}


@route("POST", "companies/{corpid}/apps", body=schemas.APPS)
async def post_apps(request: web.Request, world: World, document: Any) -> object:
    """Add apps, or change the given fields of known ones."""
    company = company_of(request, world)
    administration.put_apps(world, company, as_list(document))
    return {"apps": [administration.app_as_json(app) for app in company.apps.values()]}


@route("PATCH", "companies/{corpid}/apps/{agentid}", body=schemas.APP_CHANGES)
async def patch_app(request: web.Request, world: World, document: Any) -> object:
    """Change the given fields of an app, without the rules of WeCom's console."""
    app = app_of(request, world)
    administration.put_apps(
        world, company_of(request, world), [{**as_object(document, *APP_NAMES), "agentid": app.agentid}]
    )
    return administration.app_as_json(app)


@route("POST", "companies/{corpid}/apps/{agentid}/invalidate", body=an_object(code={"enum": [40014, 42001]}))
async def invalidate(request: web.Request, world: World, document: Any) -> object:
    """Spoil the app's tokens: {"code": 40014} (default) or {"code": 42001}."""
    app = app_of(request, world)
    code = as_object(document, "code").get("code", 40014)
    if code not in (40014, 42001):
        raise ValueError("code must be 40014 or 42001")
    return {"tokens": token.invalidate(world, company_of(request, world).corpid, app.agentid, code=code)}


@route("POST", "companies/{corpid}/apps/{agentid}/secret")
async def reset_secret(request: web.Request, world: World, document: object) -> object:
    """A new secret; the old one and its tokens are good for nothing (40001)."""
    app = app_of(request, world)
    app.secret = administration.new_secret()
    return {"secret": app.secret}


@route("POST", "companies/{corpid}/apps/{agentid}/callback/verify")
async def verify_callback(request: web.Request, world: World, document: object) -> object:
    """What saving the address in WeCom's console does: {"problem": ""} when the app answers rightly within a second."""
    app = app_of(request, world)
    return {"problem": await request.app[COURIER].verify(company_of(request, world).corpid, app.callback)}


@route("POST", "companies/{corpid}/contacts/callback/verify")
async def verify_contacts_callback(request: web.Request, world: World, document: object) -> object:
    """The same for the callback address of the directory-sync assistant."""
    company = company_of(request, world)
    return {"problem": await request.app[COURIER].verify(company.corpid, company.contacts_callback)}


@route("POST", "companies/{corpid}/apps/{agentid}/domain/verify")
async def verify_domain(request: web.Request, world: World, document: object) -> object:
    """Look for the verification file on the trusted domain: {"problem": "", "file": "WW_verify_….txt"}."""
    company, app = company_of(request, world), app_of(request, world)
    return {
        "problem": await request.app[COURIER].verify_domain(company, app),
        "file": administration.verification_file(company, app),
    }


@route("POST", "companies/{corpid}/apps/{agentid}/signature", body=_SIGNATURE)
async def check_signature(request: web.Request, world: World, document: Any) -> object:
    """Which JS-SDK ticket of the app a signature was made with: {"ticket": "config" | "agent_config" | ""}."""
    values = as_object(document, "signature", "noncestr", "timestamp", "url")
    signed = {name: text_of(values, name) for name in ("noncestr", "timestamp", "url")}
    corpid, app = company_of(request, world).corpid, app_of(request, world)
    return {"ticket": jssdk.signed_with(world, corpid, app.agentid, text_of(values, "signature"), **signed)}
