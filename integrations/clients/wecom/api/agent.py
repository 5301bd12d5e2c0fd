"""The application itself: settings, menu, addresses, tickets. Source of each call: developer.work.weixin.qq.com."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from integrations.clients.wecom.api.base import (
    Answer,
    AnswerError,
    Calls,
    child,
    integer,
    integers,
    lasting,
    objects,
    optional_integer,
    optional_text,
    text,
    texts,
)
from integrations.clients.wecom.builders import MessageError, check_bytes, check_count, check_link
from integrations.clients.wecom.token_refresh import FetchedToken

NAME_CHARACTERS = 32
DESCRIPTION_CHARACTERS = (4, 120)
MENU_ENTRIES_AT_MOST = 3
MENU_NAME_BYTES = 16
MENU_URL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class AgentChanges:
    """Settings of an application to change; None leaves one as it is.

    `name`: at most 32 characters; `description`: 4 to 120; `redirect_domain`: a verified domain without scheme;
    `home_url`: with http or https.
    """

    name: str | None = None
    description: str | None = None
    redirect_domain: str | None = None
    home_url: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return what agent/set takes. Raises MessageError."""
        if self.name is not None and not 1 <= len(self.name) <= NAME_CHARACTERS:
            raise MessageError("name", f"1 to {NAME_CHARACTERS} characters")
        shortest, longest = DESCRIPTION_CHARACTERS
        if self.description is not None and not shortest <= len(self.description) <= longest:
            raise MessageError("description", f"{shortest} to {longest} characters")
        if self.redirect_domain is not None and "/" in self.redirect_domain:
            raise MessageError("redirect_domain", "a domain without scheme and path")
        if self.home_url is not None and not self.home_url.startswith(("http://", "https://")):
            raise MessageError("home_url", "an address with http or https")
        named: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "redirect_domain": self.redirect_domain,
            "home_url": self.home_url,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Agent:
    """The application as WeCom's console shows it, with its visible scope."""

    agentid: int
    name: str = ""
    description: str = ""
    allowed_userids: tuple[str, ...] = ()
    allowed_department_ids: tuple[int, ...] = ()
    allowed_tag_ids: tuple[int, ...] = ()
    is_closed: bool = False
    redirect_domain: str = ""
    home_url: str = ""


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """An entry of the menu below the application's chat that opens `url`. Source: document/path/90231."""

    name: str
    url: str

    def fields(self, where: str) -> dict[str, Any]:
        """Return what menu/create takes; `where` names the entry in an error. Raises MessageError."""
        check_bytes(f"{where}.name", self.name, MENU_NAME_BYTES)
        check_link(f"{where}.url", self.url, MENU_URL_BYTES)
        return {"type": "view", "name": self.name, "url": self.url}


def agent_from(answer: Answer) -> Agent:
    """agent/get. The three `allow_*` objects may be missing."""
    users = objects(child(answer, "allow_userinfos"), "user")
    return Agent(
        agentid=integer(answer, "agentid"),
        name=optional_text(answer, "name"),
        description=optional_text(answer, "description"),
        allowed_userids=tuple(text(user, "userid") for user in users),
        allowed_department_ids=integers(child(answer, "allow_partys"), "partyid"),
        allowed_tag_ids=integers(child(answer, "allow_tags"), "tagid"),
        is_closed=optional_integer(answer, "close") == 1,
        redirect_domain=optional_text(answer, "redirect_domain"),
        home_url=optional_text(answer, "home_url"),
    )


def menu_from(answer: Answer) -> Mapping[str, Any]:
    """menu/get."""
    return {"button": list(objects(answer, "button", required=True))}


def addresses_from(answer: Answer) -> tuple[str, ...]:
    """getcallbackip and get_api_domain_ip."""
    if not isinstance(answer.get("ip_list"), list):
        raise AnswerError("ip_list is missing")
    return texts(answer, "ip_list")


def ticket_from(answer: Answer) -> FetchedToken:
    """get_jsapi_ticket."""
    return lasting(answer, "ticket")


class AppCalls(Calls):
    """What an administrator sees of the application in WeCom's console."""

    def agent_get(self) -> Agent:
        """Name, visible scope, trusted domain, home page. Source: document/path/90227."""
        params = {"agentid": self._own_agentid("agent_get")}
        return self._read("agent_get", "/cgi-bin/agent/get", agent_from, params)

    def agent_set(self, changes: AgentChanges) -> None:
        """Change some settings; what is None stays. Source: document/path/90228."""
        values = {"agentid": self._own_agentid("agent_set"), **changes.fields()}
        self._write("agent_set", "/cgi-bin/agent/set", values)

    def menu_create(self, entries: Sequence[MenuEntry]) -> None:
        """Replace the menu of the application's chat by one to three entries. Source: document/path/90231."""
        check_count("button", len(entries), MENU_ENTRIES_AT_MOST, at_least=1)
        menu = {"button": [entry.fields(f"button[{index}]") for index, entry in enumerate(entries)]}
        params = {"agentid": self._own_agentid("menu_create")}
        self._write("menu_create", "/cgi-bin/menu/create", menu, params=params)

    def menu_get(self) -> Mapping[str, Any]:
        """The menu as WeCom keeps it: `{"button": […]}`. Raises RecipientError (46003) where none is set.

        Source: document/path/90232.
        """
        params = {"agentid": self._own_agentid("menu_get")}
        return self._read("menu_get", "/cgi-bin/menu/get", menu_from, params)

    def getcallbackip(self) -> tuple[str, ...]:
        """The addresses or ranges from which callbacks come, to be read anew every day. Source: document/path/90930."""
        return self._read("getcallbackip", "/cgi-bin/getcallbackip", addresses_from)

    def get_api_domain_ip(self) -> tuple[str, ...]:
        """The addresses of the API, for a firewall. Source: document/path/92520."""
        return self._read("get_api_domain_ip", "/cgi-bin/get_api_domain_ip", addresses_from)

    def get_jsapi_ticket(self) -> FetchedToken:
        """A company ticket for `wx.config`; at most 100 an hour, so see `jsapi_ticket`. Source: document/path/90506."""
        return self._read("get_jsapi_ticket", "/cgi-bin/get_jsapi_ticket", ticket_from)
