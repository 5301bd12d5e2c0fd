"""A browser at the authorise page or the QR page: what it asks for, whether that is right, and its code."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from wecom_sandbox.api.oauth import domains
from wecom_sandbox.pages.targets import Refused, netloc_of
from wecom_sandbox.state.world import App, Company, Ticket, World

PRIVATE = "snsapi_privateinfo"
_SCOPES = frozenset({"snsapi_base", PRIVATE})
_STATE = re.compile(r"[a-zA-Z0-9]{0,128}")
CANNOT_OPEN = "该链接无法访问"
WRONG_REDIRECT = "redirect_uri参数错误"
WRONG_DOMAIN = "redirect_uri 与配置的授权完成回调域名不一致"


@dataclass(frozen=True, slots=True)
class Visit:
    """The query of the page."""

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

    def checked(self, world: World, *, web_login: bool) -> Target:
        """Raises Refused with the words of WeCom's page. `web_login`: the QR page, else the authorise page."""
        company = world.companies.get(self.appid)
        if company is None:
            raise Refused(CANNOT_OPEN, f"appid {self.appid!r}")
        netloc = netloc_of(self.redirect_uri)
        if not netloc:
            raise Refused(CANNOT_OPEN if web_login else WRONG_REDIRECT, "redirect_uri")
        if web_login:
            return self._web_login(company, netloc)
        if self.response_type != "code" or self.scope not in _SCOPES:
            raise Refused(CANNOT_OPEN, "response_type or scope")
        if not _STATE.fullmatch(self.state):
            raise Refused("state参数错误", "84025")
        apps = self._apps(company)
        fitting = [app for app in apps if app.domain_verified and app.trusted_domain.lower() == netloc]
        if not fitting:
            raise Refused(WRONG_REDIRECT, f"{netloc} / {', '.join(app.trusted_domain or '-' for app in apps)}")
        return Target(company, fitting[0], netloc, self.scope == PRIVATE and bool(self.agentid))

    def _web_login(self, company: Company, netloc: str) -> Target:
        if not self.agentid:
            raise Refused(CANNOT_OPEN, "agentid")
        app = self._apps(company)[0]
        if netloc not in domains(app):
            raise Refused(WRONG_DOMAIN, f"{netloc} / {app.callback_domain or app.trusted_domain or '-'}")
        return Target(company, app, netloc, False)

    def _apps(self, company: Company) -> list[App]:
        """The named app; without a name, all that are enabled. Raises Refused."""
        if not self.agentid:
            return [app for app in company.apps.values() if not app.disabled]
        app = company.apps.get(int(self.agentid)) if self.agentid.isdecimal() and len(self.agentid) < 12 else None
        if app is None or app.disabled:
            raise Refused(CANNOT_OPEN, f"agentid {self.agentid!r}")
        return [app]


@dataclass(frozen=True, slots=True)
class Target:
    """A visit that was found right. `private`: personal details are asked for, with the person's consent."""

    company: Company
    app: App
    netloc: str
    private: bool

    def admits(self, userid: str) -> bool:
        member = self.company.directory.find(userid)
        return member is not None and self.company.receives(self.app, member)


def code_for(world: World, target: Target, userid: str) -> str:
    """A code for this person; `userid` "": for somebody who is not a member."""
    corpid = target.company.corpid
    if not userid:
        return world.new_code(corpid=corpid, userid="", netloc=target.netloc, openid="oSANDBOXGUEST0001").value
    ticket = ""
    if target.private and target.admits(userid):
        ticket = secrets.token_urlsafe(48)
        expires_at = world.now() + world.settings.user_ticket_seconds
        world.keep_ticket(Ticket(ticket, corpid, target.app.agentid, expires_at, userid))
    return world.new_code(corpid=corpid, userid=userid, netloc=target.netloc, user_ticket=ticket).value
