"""Errors of every client, and the explanation that a person reads.

An error's class says what the caller should do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_OPERATION = re.compile(r"[a-z]+ (\w+)(?: -?\d+)?: ")


class IntegrationError(Exception):
    """An outside system did not do what was asked.

    `system`: the other side ("wecom"). `operation`: the call ("message_send"). `code`: the other side's error number,
    if any. `message`: a short text without URL, token or secret. `hint`: the reference for which the other side's
    support asks. `answer`: the answer, clipped. `caller_ip`: our own address as the other side saw it.
    """

    def __init__(
        self,
        message: str,
        *,
        system: str,
        operation: str,
        code: int | None = None,
        hint: str = "",
        answer: str = "",
        caller_ip: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.system = system
        self.operation = operation
        self.code = code
        self.hint = hint
        self.answer = answer
        self.caller_ip = caller_ip

    def __str__(self) -> str:
        code = "" if self.code is None else f" {self.code}"
        return f"{self.system} {self.operation}{code}: {self.message}"


def read_operation(text: str) -> str:
    """Return the operation in the text of an IntegrationError; empty for any other text."""
    match = _OPERATION.match(text)
    return match[1] if match else ""


class TransientError(IntegrationError):
    """Try again later, after growing pauses. Nothing was done on the other side, or repeating the call does no harm."""


class RateLimitedError(TransientError):
    """Wait `retry_after_seconds`, then make fewer calls."""

    def __init__(self, message: str, *, retry_after_seconds: int, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after_seconds = retry_after_seconds


class OutcomeUnknownError(IntegrationError):
    """Do not resend blindly: the other side may have done it."""


class ConfigurationError(IntegrationError):
    """Stop and tell an administrator: no retry helps until somebody changes a setting."""


# An error code of our own: the system was not called, because its stored secret cannot be decrypted.
UNREADABLE_SECRET = -9001


class UnreadableSecretError(ConfigurationError):
    """A stored secret that no present key decrypts: restore the key, or enter the secret again."""


class RecipientError(IntegrationError):
    """Drop these recipients and go on with the rest. The lists are empty if the other side named nobody."""

    def __init__(
        self,
        message: str,
        *,
        invalid_userids: tuple[str, ...] = (),
        unlicensed_userids: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(message, **kwargs)
        self.invalid_userids = invalid_userids
        self.unlicensed_userids = unlicensed_userids


class CodeRejectedError(IntegrationError):
    """Send the person back to the start of sign-in: the code is missing, redeemed already, expired or unknown."""


class BadRequestError(IntegrationError):
    """Our own mistake: report the failure, never retry."""


class UnexpectedResponseError(IntegrationError):
    """The other side gave an unknown answer. Fail, and find out what it was."""


class ForeignAnswerError(UnexpectedResponseError):
    """Something else answered instead of the system, such as a proxy or a login page. Check the network path."""


# --- What a person reads ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Explanation:
    """An explanation: what happened, who can fix it and where to click. A field without content is empty.

    Clients and checks define explanations as English sentences marked for gettext, with placeholders for facts, such as
    `%(domain)s`; `integrations.core.sentences.translate_explanation` translates and fills them. `raw`: the words of the
    other side or of our program. `guide`: an anchor on the guides' page of errors; after translation, a whole address.
    """

    what: str
    who: str = ""
    where: str = ""
    raw: str = ""
    guide: str = ""

    @property
    def sentences(self) -> list[str]:
        """The sentences that are not empty, without `raw`."""
        return [text for text in (self.what, self.who, self.where) if text]
