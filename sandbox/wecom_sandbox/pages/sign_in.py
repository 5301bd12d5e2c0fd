"""The authorise page and the QR page: checks of a visit, and the sign-in code that it is given."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from wecom_sandbox.api.token import find_sign_in_hosts
from wecom_sandbox.http import bodies
from wecom_sandbox.pages import rendering
from wecom_sandbox.pages.rendering import VisitRefused, add_code, read_netloc, render
from wecom_sandbox.state.world import WORLD, App, Company, Ticket, World

PRIVATE = "snsapi_privateinfo"
_SCOPES = frozenset({"snsapi_base", PRIVATE})
_STATE = re.compile(r"[a-zA-Z0-9]{0,128}")
CANNOT_OPEN, WRONG_REDIRECT = "该链接无法访问", "redirect_uri参数错误"
WRONG_DOMAIN = "redirect_uri 与配置的授权完成回调域名不一致"


@dataclass(frozen=True, slots=True)
class Visit:
    """Query of the authorise page or the QR page."""

    appid: str
    redirect_uri: str
    state: str
    agentid: str
    scope: str
    response_type: str

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Visit:
        names = ("appid", "redirect_uri", "state", "agentid", "scope", "response_type")
        return cls(*(query.get(name, "") for name in names))

    def check(self, world: World, *, web_login: bool) -> Target:
        """Check the visit. Raise VisitRefused with WeCom's words. `web_login`: the QR page, else the authorise page."""
        company = world.companies.get(self.appid)
        if company is None:
            raise VisitRefused(CANNOT_OPEN, f"appid {self.appid!r}")
        netloc = read_netloc(self.redirect_uri)
        if not netloc:
            raise VisitRefused(CANNOT_OPEN if web_login else WRONG_REDIRECT, "redirect_uri")
        if web_login:
            return self._check_web_login(company, netloc)
        if self.response_type != "code" or self.scope not in _SCOPES:
            raise VisitRefused(CANNOT_OPEN, "response_type or scope")
        if not _STATE.fullmatch(self.state):
            raise VisitRefused("state参数错误", "84025")
        apps = self._find_apps(company)
        fitting = [app for app in apps if app.domain_verified and app.trusted_domain.lower() == netloc]
        if not fitting:
            raise VisitRefused(WRONG_REDIRECT, f"{netloc} / {', '.join(app.trusted_domain or '-' for app in apps)}")
        return Target(company, fitting[0], netloc, self.scope == PRIVATE and bool(self.agentid))

    def _check_web_login(self, company: Company, netloc: str) -> Target:
        if not self.agentid:
            raise VisitRefused(CANNOT_OPEN, "agentid")
        app = self._find_apps(company)[0]
        if netloc not in find_sign_in_hosts(app):
            raise VisitRefused(WRONG_DOMAIN, f"{netloc} / {app.callback_domain or app.trusted_domain or '-'}")
        return Target(company, app, netloc, False)

    def _find_apps(self, company: Company) -> list[App]:
        """Return the named app; without a name, all enabled ones. Raise VisitRefused."""
        if not self.agentid:
            return [app for app in company.apps.values() if not app.disabled]
        app = company.apps.get(int(self.agentid)) if self.agentid.isdecimal() and len(self.agentid) < 12 else None
        if app is None or app.disabled:
            raise VisitRefused(CANNOT_OPEN, f"agentid {self.agentid!r}")
        return [app]


@dataclass(frozen=True, slots=True)
class Target:
    """A valid visit. `private`: personal details are asked for, with the person's consent."""

    company: Company
    app: App
    netloc: str
    private: bool

    def admits(self, userid: str) -> bool:
        member = self.company.directory.find(userid)
        return member is not None and self.company.app_reaches(self.app, member)


def make_code(world: World, target: Target, userid: str) -> str:
    """Make a code for this person; `userid` "": for somebody who is not a member."""
    corpid = target.company.corpid
    if not userid:
        return world.new_code(corpid=corpid, userid="", netloc=target.netloc, openid="oSANDBOXGUEST0001").value
    ticket = ""
    if target.private and target.admits(userid):
        ticket = secrets.token_urlsafe(48)
        expires_at = world.now() + world.settings.user_ticket_seconds
        world.store_ticket(Ticket(ticket, corpid, target.app.agentid, expires_at, userid))
    return world.new_code(corpid=corpid, userid=userid, netloc=target.netloc, user_ticket=ticket).value


PATHS = ("/wwlogin/sso/login", "/wwopen/sso/qrConnect")
NO_RIGHT = "无权限"


def add_login_routes(app: web.Application) -> None:
    for path in PATHS:
        app.router.add_get(path, show_qr_page)
        app.router.add_post(path, answer_scan)


async def show_qr_page(request: web.Request) -> web.StreamResponse:
    """Show a stand-in for the QR code, and the people who could scan it."""
    world = request.app[WORLD]
    visit = Visit.from_query(request.query)
    try:
        target = visit.check(world, web_login=True)
    except VisitRefused as refused:
        return render(request, "refused.html", {"text": refused.text, "detail": refused.detail}, embeddable=True)
    holder = rendering.find_holder(request, world)
    own = holder.member if holder and holder.company is target.company else None
    if own is not None and rendering.LINK_TAPPED_COOKIE in request.cookies and target.admits(own.userid):
        # This browser just tapped a link on its phone: inside WeCom the person would not be asked again.
        url = add_code(visit.redirect_uri, make_code(world, target, own.userid), visit.state)
        redirect = web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
        redirect.del_cookie(rendering.LINK_TAPPED_COOKIE, path="/")
        return redirect
    query = request.query.get("q", "")
    context = {
        "app": target.app,
        "company": target.company,
        "own": own,
        "people": rendering.search_members(target.company, query),
        "total": len(target.company.directory.members),
        "redirect_origin": f"{visit.redirect_uri.partition(':')[0].lower()}://{target.netloc}",
        "redirect_type": request.query.get("redirect_type", "top"),
        "color_scheme": request.query.get("color_scheme", "auto"),
        "small": request.query.get("panel_size") == "small",
    }
    return render(request, "login.html", context, embeddable=True)


async def answer_scan(request: web.Request) -> web.StreamResponse:
    """Answer a scan, {"userid", "answer": "approve" | "refuse"}, or a search, {"q"}. The body is JSON, as a framed page
    may not submit forms, and another site's page cannot send this Content-Type without permission."""
    world = request.app[WORLD]
    if request.content_type != "application/json":
        return web.json_response({"error": "Content-Type must be application/json"}, status=415)
    visit = Visit.from_query(request.query)
    try:
        target = visit.check(world, web_login=True)
        scanned = bodies.parse_json(await request.read())
        if not isinstance(scanned, dict):
            raise ValueError("a JSON object is expected")
    except VisitRefused as refused:
        return web.json_response({"error": refused.text}, status=403)
    except ValueError:
        return web.json_response({"error": "a JSON object is expected"}, status=400)
    userid, answer = str(scanned.get("userid", "")), scanned.get("answer")
    if "q" in scanned:
        found = rendering.search_members(target.company, str(scanned["q"]))
        return web.json_response({"people": [{"userid": one.userid, "name": one.name} for one in found]})
    if answer == "refuse":
        return web.json_response({"code": "", "url": add_code(visit.redirect_uri, "", visit.state)})
    member = target.company.directory.find(userid)
    if answer != "approve" or member is None:
        return web.json_response({"error": "userid"}, status=400)
    if not target.admits(member.userid):
        return web.json_response({"error": NO_RIGHT}, status=403)
    code = make_code(world, target, member.userid)
    return web.json_response({"code": code, "url": add_code(visit.redirect_uri, code, visit.state)})


AUTHORIZE = "/connect/oauth2/authorize"
NOT_IN_WECOM = "请在企业微信客户端打开链接"


def add_oauth_routes(app: web.Application) -> None:
    app.router.add_get(AUTHORIZE, show_authorize_page)
    app.router.add_post(AUTHORIZE, store_consent)


async def show_authorize_page(request: web.Request) -> web.StreamResponse:
    """Redirect with a code for the person who holds this browser's phone, or show a page where WeCom shows one."""
    world = request.app[WORLD]
    holder = rendering.find_holder(request, world)
    if not rendering.is_wecom_browser(request) and holder is None:
        return render(request, "refused.html", {"text": NOT_IN_WECOM, "detail": "", "outside": True})
    visit = Visit.from_query(request.query)
    try:
        target = visit.check(world, web_login=False)
    except VisitRefused as refused:
        return render(request, "refused.html", {"text": refused.text, "detail": refused.detail})
    if holder is None or holder.company is not target.company:
        query = {"corpid": target.company.corpid, "next": str(request.rel_url)}
        raise web.HTTPFound(request.rel_url.with_path("/phone/choose").with_query(query))
    if target.private:
        if not target.admits(holder.userid):
            return render(request, "refused.html", {"text": "你不在该应用的可见范围内", "detail": target.app.name})
        if not _has_consented(world, target, holder.folded):
            return render(
                request, "consent.html", {"app": target.app, "company": target.company, "member": holder.member}
            )
    return _redirect_with_code(world, visit, target, holder.userid)


async def store_consent(request: web.Request) -> web.StreamResponse:
    """Store the answer to the consent page of snsapi_privateinfo: allowed for 30 days, or refused."""
    world = request.app[WORLD]
    holder = rendering.find_holder(request, world)
    visit = Visit.from_query(request.query)
    try:
        target = visit.check(world, web_login=False)
    except VisitRefused as refused:
        return render(request, "refused.html", {"text": refused.text, "detail": refused.detail})
    if holder is None or holder.company is not target.company or not target.admits(holder.userid):
        raise web.HTTPForbidden(text="choose who holds this phone first\n")
    if (await request.post()).get("answer") != "allow":
        raise web.HTTPFound("/phone")
    until = world.now() + world.settings.consent_seconds
    world.consents[target.company.corpid, target.app.agentid, holder.folded] = until
    return _redirect_with_code(world, visit, target, holder.userid)


def _has_consented(world: World, target: Target, folded: str) -> bool:
    return world.consents.get((target.company.corpid, target.app.agentid, folded), 0.0) > world.now()


def _redirect_with_code(world: World, visit: Visit, target: Target, userid: str) -> web.Response:
    url = add_code(visit.redirect_uri, make_code(world, target, userid), visit.state)
    # The address is sent unchanged: a URL object would re-encode what the app's owner wrote.
    return web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
