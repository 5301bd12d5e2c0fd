"""What a mail channel does with a mail: which parts it takes, where a footer begins, whom it tells."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

# Of what `notifications.inbound.files` lets through, what a BI sends.
EXTENSIONS = ("xlsx", "xls", "csv", "pdf", "docx", "pptx", "png", "jpg", "jpeg")


class Forward(StrEnum):
    """Who gets the mail itself, too, by our own mail server."""

    NOBODY = ""
    UNKNOWN = "unknown"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class MailRules:
    """Kept in InboundChannel.mapping. A rule that is missing there has the value that it has here.

    `networks`: from where the channel may sign in; empty: from wherever one may connect. `attachments`: extensions in
    small letters; empty: none are sent. `footers`: beginnings of lines; from the first such line on, the rest is left
    out. `tells_sender`: of people who cannot be reached, by mail. `mail_domains`: mails because of a mail go to these
    alone, so that nobody sends words to whom they like by our mail server.
    """

    networks: tuple[str, ...] = ()
    takes_text: bool = True
    takes_picture: bool = True
    attachments: tuple[str, ...] = EXTENSIONS
    footers: tuple[str, ...] = ()
    tells_sender: bool = False
    forward: str = Forward.NOBODY
    mail_domains: tuple[str, ...] = ()

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> MailRules:
        """From a channel's row."""
        known = {one.name for one in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in mapping.items() if name in known
        }
        return cls(**values)

    def document(self) -> dict[str, Any]:
        """For a channel's row."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def admits(self, address: str) -> bool:
        """Whether the channel may sign in from this IP address."""
        networks = [ipaddress.ip_network(network) for network in self.networks]
        return not networks or any(ipaddress.ip_address(address) in network for network in networks)

    def mails_to(self, address: str) -> bool:
        return address.rpartition("@")[2].lower() in self.mail_domains
