"""The errors of every client to an outside system. A class says what the caller should do (docs: style guide §5)."""

from __future__ import annotations

import re
from typing import Any

_SHOWN = re.compile(r"[a-z]+ (\w+)(?: -?\d+)?: ")


class IntegrationError(Exception):
    """An outside system did not do what was asked.

    `system` names the other side ("wecom"), `operation` the call ("message_send"), `code` its error number if it
    gave one, `message` a short text without URL, token or secret, `hint` the other side's own reference for its
    support, `answer` what it said, clipped, and `caller_ip` the address that it saw us come from.
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Why? An exception with required keywords does not survive pickling, which hides it between processes."""
        return (_rebuilt, (type(self), dict(self.__dict__)))


def operation_of(text: str) -> str:
    """The operation in the text of an IntegrationError; empty for any other text."""
    found = _SHOWN.match(text)
    return found[1] if found else ""


def _rebuilt(cls: type[IntegrationError], attributes: dict[str, Any]) -> IntegrationError:
    error = cls.__new__(cls, attributes["message"])
    error.__dict__.update(attributes)
    return error


class TransientError(IntegrationError):
    """Try later, backing off. Certain: nothing was done on the other side, or the call may safely be repeated."""


class RateLimitedError(TransientError):
    """Wait `retry_after_seconds`, then go slower."""

    def __init__(self, message: str, *, retry_after_seconds: int, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after_seconds = retry_after_seconds


class OutcomeUnknownError(IntegrationError):
    """Do not resend blindly: the other side may have done it."""


class ConfigurationError(IntegrationError):
    """Stop and tell an administrator: no retry helps until somebody changes a setting."""


# No code of a system: it was not asked, because what is stored for it cannot be decrypted.
UNREADABLE_SECRET = -9001


class UnreadableSecretError(ConfigurationError):
    """A stored secret that none of the present keys opens: the key comes back, or somebody enters the secret again."""


class RecipientError(IntegrationError):
    """Drop these recipients and go on with the rest. What the other side did not name stays empty."""

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


class LoginRefusedError(IntegrationError):
    """Send the person back to the start of sign-in."""


class BadRequestError(IntegrationError):
    """Our own mistake: fail loudly, never retry."""


class UnexpectedResponseError(IntegrationError):
    """The other side said something that we do not know. Fail, and learn what it was."""


class ForeignAnswerError(UnexpectedResponseError):
    """Something else answered in the other side's place, as a proxy or a login page. Look at the way there."""
