"""The application, as WeCom answers it and takes changes to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from integrations.clients.wecom.messages.limits import MessageError
from integrations.clients.wecom.schemas.base import Agent, Answer, AnswerError, agent_from, objects, texts

NAME_CHARACTERS = 32
DESCRIPTION_CHARACTERS = (4, 120)


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
    logo_mediaid: str | None = None
    reports_location: bool | None = None
    reports_enter: bool | None = None

    def fields(self) -> dict[str, Any]:
        """As agent/set takes them. Raises MessageError."""
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
            "report_location_flag": None if self.reports_location is None else int(self.reports_location),
            "logo_mediaid": self.logo_mediaid,
            "name": self.name,
            "description": self.description,
            "redirect_domain": self.redirect_domain,
            "isreportenter": None if self.reports_enter is None else int(self.reports_enter),
            "home_url": self.home_url,
        }
        return {name: value for name, value in named.items() if value is not None}


def agents_from(answer: Answer) -> tuple[Agent, ...]:
    """agent/list, which gives agentid, name and logo only."""
    return tuple(agent_from(agent) for agent in objects(answer, "agentlist", required=True))


def menu_from(answer: Answer) -> Mapping[str, Any]:
    """menu/get."""
    return {"button": list(objects(answer, "button", required=True))}


def nothing_from(answer: Answer) -> None:
    """An answer that says nothing but that it worked."""


def addresses_from(answer: Answer) -> tuple[str, ...]:
    """getcallbackip and get_api_domain_ip."""
    if not isinstance(answer.get("ip_list"), list):
        raise AnswerError("ip_list is missing")
    return texts(answer, "ip_list")
