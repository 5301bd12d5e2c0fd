"""What the server of the mail door hands over, and to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from integrations.core.metrics import CountedMetric

# aiosmtpd's name for the sender of a bounce (RFC 5321, 4.5.5).
NULL_SENDER = "<>"
# Counted by the server, shown by web processes.
MAILS = CountedMetric("guanwecom_mail_door_mails", "Mails of channels, by the answer's code", "code")


class RefusedError(Exception):
    """The mail is not taken; `answer`: with its SMTP code, 4xx where the same may work later."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as it came. `sender`: of the envelope, NULL_SENDER for a bounce; `recipients`: of the envelope, in
    their order."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class SignIn:
    """Whose mails these are, and by what: `proof` is the backend's, `address` an IP address."""

    channel_id: int
    proof: str = field(repr=False)
    address: str


class Backend(Protocol):
    """Called in threads. Both may raise django.db.Error, for which the sender is asked to come again."""

    def sign_in(self, *, user: str, password: str, address: str) -> SignIn | None:
        """None where user, password or address are not right."""

    def take(self, signed_in: SignIn, mail: Mail) -> str:
        """Store the mail of somebody who may still sign in; the answer says 250 once it is committed. Raises
        RefusedError."""
