"""Who came with a code. Source of each call: developer.work.weixin.qq.com, page given at the call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.clients.wecom.api.base import Calls
from integrations.clients.wecom.messages.menus import Menu
from integrations.clients.wecom.schemas import agent, base, messages
from integrations.clients.wecom.token_refresh import FetchedToken


class LoginCalls(Calls):
    """Signing in. A code works once and for 5 minutes: LoginRefusedError means that sign-in starts anew."""

    def auth_getuserinfo(self, code: str) -> base.Identity:
        """Who came with `code`. A member outside the visible scope has a userid too: check `user_get` after it.

        Source: document/path/91023 (page of 2022-09-23); 98177 for the page with the QR code.
        """
        params = {"code": code}
        return self._read("auth_getuserinfo", "/cgi-bin/auth/getuserinfo", base.identity_from, params)

    def user_getuserinfo(self, code: str) -> base.Identity:
        """The older spelling of `auth_getuserinfo`, which still answers; for servers that know only this one."""
        params = {"code": code}
        return self._read("user_getuserinfo", "/cgi-bin/user/getuserinfo", base.identity_from, params)

    def auth_getuserdetail(self, user_ticket: str) -> base.UserDetail:
        """What a member agreed to show, after a sign-in with `snsapi_privateinfo`; the ticket lives 1800 s.

        Source: document/path/95833 (page of 2023-03-14).
        """
        question = {"user_ticket": user_ticket}
        return self._query("auth_getuserdetail", "/cgi-bin/auth/getuserdetail", base.user_detail_from, question)


# --- The application itself: settings, menu, addresses, tickets. Source: developer.work.weixin.qq.com, see each call


class AppCalls(Calls):
    """What an administrator sees of the application in WeCom's console."""

    def agent_get(self) -> base.Agent:
        """Name, visible scope, trusted domain, home page. Source: document/path/90227."""
        params = {"agentid": self._own_agentid("agent_get")}
        return self._read("agent_get", "/cgi-bin/agent/get", base.agent_from, params)

    def agent_list(self) -> tuple[base.Agent, ...]:
        """The applications that the token may see; for a self-built application itself. Source: document/path/90227."""
        return self._read("agent_list", "/cgi-bin/agent/list", agent.agents_from)

    def agent_set(self, changes: agent.AgentChanges) -> None:
        """Change some settings; what is None stays. Source: document/path/90228."""
        values = {"agentid": self._own_agentid("agent_set"), **changes.fields()}
        self._write("agent_set", "/cgi-bin/agent/set", values)

    def menu_create(self, menu: Menu) -> None:
        """Set the menu of the application's chat in place of the one it has. Source: document/path/90231."""
        params = {"agentid": self._own_agentid("menu_create")}
        self._write("menu_create", "/cgi-bin/menu/create", menu.fields(), params=params)

    def menu_get(self) -> Mapping[str, Any]:
        """The menu as WeCom keeps it: `{"button": […]}`. Raises RecipientError (46003) where none is set.

        Source: document/path/90232.
        """
        params = {"agentid": self._own_agentid("menu_get")}
        return self._read("menu_get", "/cgi-bin/menu/get", agent.menu_from, params)

    def menu_delete(self) -> None:
        """Remove the menu. Source: document/path/90233."""
        params = {"agentid": self._own_agentid("menu_delete")}
        self._read("menu_delete", "/cgi-bin/menu/delete", agent.nothing_from, params)

    def getcallbackip(self) -> tuple[str, ...]:
        """Where callbacks come from: addresses or ranges, to be read anew every day. Source: document/path/90930."""
        return self._read("getcallbackip", "/cgi-bin/getcallbackip", agent.addresses_from)

    def get_api_domain_ip(self) -> tuple[str, ...]:
        """The addresses of the API, for a firewall. Source: document/path/92520."""
        return self._read("get_api_domain_ip", "/cgi-bin/get_api_domain_ip", agent.addresses_from)

    def get_jsapi_ticket(self) -> FetchedToken:
        """A company ticket for `wx.config`; at most 100 an hour, so see `jsapi_ticket`. Source: document/path/90506."""
        return self._read("get_jsapi_ticket", "/cgi-bin/get_jsapi_ticket", messages.ticket_from)

    def ticket_get(self) -> FetchedToken:
        """An application ticket for `wx.agentConfig`; see `agent_ticket`. Source: document/path/94313."""
        params = {"type": "agent_config"}
        return self._read("ticket_get", "/cgi-bin/ticket/get", messages.ticket_from, params)
