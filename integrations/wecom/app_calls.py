"""The application itself: settings, menu, addresses, tickets. Source: developer.work.weixin.qq.com, see each call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.wecom import app_schemas, message_schemas, schemas
from integrations.wecom.calls import Calls
from integrations.wecom.menus import Menu
from integrations.wecom.token_flight import FetchedToken


class AppCalls(Calls):
    """What an administrator sees of the application in WeCom's console."""

    def agent_get(self) -> schemas.Agent:
        """Name, visible scope, trusted domain, home page. Source: document/path/90227."""
        params = {"agentid": self._own_agentid("agent_get")}
        return self._read("agent_get", "/cgi-bin/agent/get", schemas.agent_from, params)

    def agent_list(self) -> tuple[schemas.Agent, ...]:
        """The applications that the token may see; for a self-built application itself. Source: document/path/90227."""
        return self._read("agent_list", "/cgi-bin/agent/list", app_schemas.agents_from)

    def agent_set(self, changes: app_schemas.AgentChanges) -> None:
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
        return self._read("menu_get", "/cgi-bin/menu/get", app_schemas.menu_from, params)

    def menu_delete(self) -> None:
        """Remove the menu. Source: document/path/90233."""
        params = {"agentid": self._own_agentid("menu_delete")}
        self._read("menu_delete", "/cgi-bin/menu/delete", app_schemas.nothing_from, params)

    def getcallbackip(self) -> tuple[str, ...]:
        """Where callbacks come from: addresses or ranges, to be read anew every day. Source: document/path/90930."""
        return self._read("getcallbackip", "/cgi-bin/getcallbackip", app_schemas.addresses_from)

    def get_api_domain_ip(self) -> tuple[str, ...]:
        """The addresses of the API, for a firewall. Source: document/path/92520."""
        return self._read("get_api_domain_ip", "/cgi-bin/get_api_domain_ip", app_schemas.addresses_from)

    def get_jsapi_ticket(self) -> FetchedToken:
        """A company ticket for `wx.config`; at most 100 an hour, so see `jsapi_ticket`. Source: document/path/90506."""
        return self._read("get_jsapi_ticket", "/cgi-bin/get_jsapi_ticket", message_schemas.ticket_from)

    def ticket_get(self) -> FetchedToken:
        """An application ticket for `wx.agentConfig`; see `agent_ticket`. Source: document/path/94313."""
        params = {"type": "agent_config"}
        return self._read("ticket_get", "/cgi-bin/ticket/get", message_schemas.ticket_from, params)
