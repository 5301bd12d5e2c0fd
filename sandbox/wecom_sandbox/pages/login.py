"""The QR page: nobody has a phone here, so the page lets one scan as a chosen person."""

from __future__ import annotations

from aiohttp import web

from wecom_sandbox.http import strict_json
from wecom_sandbox.pages import browser, people
from wecom_sandbox.pages.rendering import page
from wecom_sandbox.pages.targets import Refused, with_code
from wecom_sandbox.pages.visits import Visit, code_for
from wecom_sandbox.state.keys import WORLD

PATHS = ("/wwlogin/sso/login", "/wwopen/sso/qrConnect")
NO_RIGHT = "无权限"


def add_routes(app: web.Application) -> None:
    for path in PATHS:
        app.router.add_get(path, show)
        app.router.add_post(path, scan)


async def show(request: web.Request) -> web.StreamResponse:
    """A stand-in for the QR code, and the people who could scan it."""
    world = request.app[WORLD]
    visit = Visit.from_query(request.query)
    try:
        target = visit.checked(world, web_login=True)
    except Refused as refused:
        return page(request, "refused.html", {"text": refused.text, "detail": refused.detail}, embeddable=True)
    holder = browser.holder(request, world)
    own = holder.member if holder and holder.company is target.company else None
    if own is not None and browser.TAPPED_COOKIE in request.cookies and target.admits(own.userid):
        # This browser just tapped a link on its phone: inside WeCom the person would not be asked again.
        url = with_code(visit.redirect_uri, code_for(world, target, own.userid), visit.state)
        silent = web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
        silent.del_cookie(browser.TAPPED_COOKIE, path="/")
        return silent
    query = request.query.get("q", "")
    context = {
        "app": target.app,
        "company": target.company,
        "own": own,
        "people": people.search(target.company, query),
        "total": len(target.company.directory.members),
        "redirect_origin": f"{visit.redirect_uri.partition(':')[0].lower()}://{target.netloc}",
        "redirect_type": request.query.get("redirect_type", "top"),
        "color_scheme": request.query.get("color_scheme", "auto"),
        "small": request.query.get("panel_size") == "small",
    }
    return page(request, "login.html", context, embeddable=True)


async def scan(request: web.Request) -> web.StreamResponse:
    """{"userid", "answer": "approve" | "refuse"} or {"q"}: JSON, since a framed page may not submit forms.

    Content-Type application/json is asked for: a page of another site cannot send that without the sandbox's leave.
    """
    world = request.app[WORLD]
    if request.content_type != "application/json":
        return web.json_response({"error": "Content-Type must be application/json"}, status=415)
    visit = Visit.from_query(request.query)
    try:
        target = visit.checked(world, web_login=True)
        scanned = strict_json.loads(await request.read())
        if not isinstance(scanned, dict):
            raise ValueError("a JSON object is expected")
    except Refused as refused:
        return web.json_response({"error": refused.text}, status=403)
    except ValueError:
        return web.json_response({"error": "a JSON object is expected"}, status=400)
    userid, answer = str(scanned.get("userid", "")), scanned.get("answer")
    if "q" in scanned:
        found = people.search(target.company, str(scanned["q"]))
        return web.json_response({"people": [{"userid": one.userid, "name": one.name} for one in found]})
    if answer == "refuse":
        return web.json_response({"code": "", "url": with_code(visit.redirect_uri, "", visit.state)})
    member = target.company.directory.find(userid)
    if answer != "approve" or member is None:
        return web.json_response({"error": "userid"}, status=400)
    if not target.admits(member.userid):
        return web.json_response({"error": NO_RIGHT}, status=403)
    code = code_for(world, target, member.userid)
    return web.json_response({"code": code, "url": with_code(visit.redirect_uri, code, visit.state)})
