"""The authorise page: silent inside WeCom, closed to other browsers."""

from __future__ import annotations

from aiohttp import web

from wecom_sandbox.pages import browser
from wecom_sandbox.pages.rendering import page
from wecom_sandbox.pages.targets import Refused, with_code
from wecom_sandbox.pages.visits import Target, Visit, code_for
from wecom_sandbox.state.keys import WORLD
from wecom_sandbox.state.world import World

AUTHORIZE = "/connect/oauth2/authorize"
NOT_IN_WECOM = "请在企业微信客户端打开链接"


def add_routes(app: web.Application) -> None:
    app.router.add_get(AUTHORIZE, authorize)
    app.router.add_post(AUTHORIZE, consent)


async def authorize(request: web.Request) -> web.StreamResponse:
    """302 with a code for the person whose phone this browser is; a page where WeCom shows one."""
    world = request.app[WORLD]
    holder = browser.holder(request, world)
    if not browser.is_wecom(request) and holder is None:
        return page(request, "refused.html", {"text": NOT_IN_WECOM, "detail": "", "outside": True})
    visit = Visit.from_query(request.query)
    try:
        target = visit.checked(world, web_login=False)
    except Refused as refused:
        return page(request, "refused.html", {"text": refused.text, "detail": refused.detail})
    if holder is None or holder.company is not target.company:
        query = {"corpid": target.company.corpid, "next": str(request.rel_url)}
        raise web.HTTPFound(request.rel_url.with_path("/phone/choose").with_query(query))
    if target.private:
        if not target.admits(holder.userid):
            return page(request, "refused.html", {"text": "你不在该应用的可见范围内", "detail": target.app.name})
        if not _has_consented(world, target, holder.folded):
            return page(
                request, "consent.html", {"app": target.app, "company": target.company, "member": holder.member}
            )
    return _go(world, visit, target, holder.userid)


async def consent(request: web.Request) -> web.StreamResponse:
    """The consent page of snsapi_privateinfo was answered: allowed for 30 days, or refused."""
    world = request.app[WORLD]
    holder = browser.holder(request, world)
    visit = Visit.from_query(request.query)
    try:
        target = visit.checked(world, web_login=False)
    except Refused as refused:
        return page(request, "refused.html", {"text": refused.text, "detail": refused.detail})
    if holder is None or holder.company is not target.company or not target.admits(holder.userid):
        raise web.HTTPForbidden(text="choose who holds this phone first\n")
    if (await request.post()).get("answer") != "allow":
        raise web.HTTPFound("/phone")
    until = world.now() + world.settings.consent_seconds
    world.consents[target.company.corpid, target.app.agentid, holder.folded] = until
    return _go(world, visit, target, holder.userid)


def _has_consented(world: World, target: Target, folded: str) -> bool:
    return world.consents.get((target.company.corpid, target.app.agentid, folded), 0.0) > world.now()


def _go(world: World, visit: Visit, target: Target, userid: str) -> web.Response:
    url = with_code(visit.redirect_uri, code_for(world, target, userid), visit.state)
    # The address goes out as it came in: a URL object would re-encode what the app's owner wrote.
    return web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
