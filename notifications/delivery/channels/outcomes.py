"""Maps an answer, or its absence, to an outcome. Pure.

On message/send only a failed connect and an errcode other than −1 are certain. Everything before it, as fetching a
token, sends nothing and is certain, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto

from integrations.clients.errors import (
    ConfigurationError,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.wecom.client import SendResult
from integrations.clients.wecom.errcodes import NOBODY_REACHED, RATE_LIMITED

SENDS = frozenset({"message_send", "webhook_send"})
# What nobody has repaired is tried again this often, for the whole corp by one message at a time.
CONFIGURATION_WAIT_SECONDS = 120
# Blocked by the content policy, able to crash clients, forbidden words: what was said, not to whom.
CONTENT_CODES = frozenset({40201, 82004, 85002})


class Kind(StrEnum):
    ACCEPTED = auto()
    REFUSED = auto()  # certain and final
    RECIPIENTS = auto()  # certain and final: the people, not the message
    NOT_SENT = auto()  # certain: try again
    POSTPONED = auto()  # certain: nothing of this corp goes out for a while
    UNCLEAR = auto()  # it may have been delivered


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attempt. `answer` and `message` hold no secret; `wait_seconds` is for POSTPONED alone.

    `is_configuration`: the company cannot be sent to; after `held_seconds` one message finds out whether it can.
    """

    kind: Kind
    message: str = ""
    errcode: int | None = None
    answer: str = ""
    wait_seconds: int = 0
    is_configuration: bool = False
    held_seconds: int = CONFIGURATION_WAIT_SECONDS
    msgid: str = ""
    response_code: str = ""
    invalid_userids: tuple[str, ...] = ()
    unlicensed_userids: tuple[str, ...] = ()

    @property
    def is_plainly_accepted(self) -> bool:
        """Accepted for everybody, and nothing to tell."""
        return self.kind == Kind.ACCEPTED and not (
            self.message or self.response_code or self.invalid_userids or self.unlicensed_userids
        )

    @property
    def proves_configuration(self) -> bool:
        """The other side took the call and judged the message: what it needs of settings is in order."""
        return self.kind in {Kind.ACCEPTED, Kind.RECIPIENTS} or (self.kind == Kind.REFUSED and self.errcode is not None)

    @property
    def is_rate_limited(self) -> bool:
        """The other side has had too much: whoever else sends there slows down, too."""
        return self.kind == Kind.POSTPONED and not self.is_configuration

    @property
    def is_for_everyone(self) -> bool:
        """The refusal concerns every recipient: WeCom says so, or names nobody."""
        named = self.invalid_userids or self.unlicensed_userids
        return self.kind == Kind.RECIPIENTS and (self.errcode == NOBODY_REACHED or not named)


def outcome_of_result(result: SendResult) -> Outcome:
    """Of an answer with errcode 0, which may still name people who got nothing."""
    return Outcome(
        Kind.ACCEPTED,
        message=result.warning,
        errcode=0,
        msgid=result.msgid,
        response_code=result.response_code,
        invalid_userids=result.invalid_userids,
        unlicensed_userids=result.unlicensed_userids,
    )


def outcome_of_error(error: IntegrationError) -> Outcome:
    """What a client's error says of the message: whether it may have gone out, and how many seconds to wait.

    Never raises: what is of no class named here counts as a refusal.
    """
    kind, wait_seconds = _kind_and_wait(error)
    held_seconds = _held_seconds(error) if kind == Kind.POSTPONED else 0
    return Outcome(
        kind,
        message=str(error),
        errcode=error.code,
        answer=error.answer or error.message,
        wait_seconds=min(wait_seconds, CONFIGURATION_WAIT_SECONDS) if held_seconds else wait_seconds,
        is_configuration=held_seconds > 0,
        held_seconds=held_seconds,
        invalid_userids=error.invalid_userids if isinstance(error, RecipientError) else (),
        unlicensed_userids=error.unlicensed_userids if isinstance(error, RecipientError) else (),
    )


def not_begun(error: Exception) -> Outcome:
    """Before the call something failed that nobody foresaw: certain, and tried again later as a wrong setting is."""
    return Outcome(
        Kind.POSTPONED,
        message=f"the call could not be prepared: {type(error).__name__}",
        wait_seconds=CONFIGURATION_WAIT_SECONDS,
        is_configuration=True,
    )


def crashed(error: BaseException) -> Outcome:
    """During the call something failed that nobody foresaw."""
    return Outcome(Kind.UNCLEAR, message=f"the call failed: {type(error).__name__}")


# Frozen for an app that the company no longer uses: WeCom would refuse it, and hold up the messages behind it.
OTHER_APP = Outcome(Kind.REFUSED, message="the company's app was changed after this message was made")
ROBOT_GONE = Outcome(Kind.REFUSED, message="the robot was deleted after this message was made")
NO_THREAD = Outcome(Kind.NOT_SENT, message="the call did not begin in time")
NOT_COUNTED = Outcome(Kind.NOT_SENT, message="the limiter lost its counts before the call began")
NOT_CLAIMED = Outcome(Kind.NOT_SENT, message="the database did not confirm that the call may begin")
LOST_WORKER = Outcome(Kind.UNCLEAR, message="the worker ended before the answer was written down")


def _held_seconds(error: IntegrationError) -> int:
    """For how long the company of a message that was postponed is held; 0: it is not, other limits are the limiter's.

    Too many tokens were asked for, or with a wrong Secret: WeCom gives this address none for an hour.
    """
    if not isinstance(error, RateLimitedError):
        return CONFIGURATION_WAIT_SECONDS
    return error.retry_after_seconds if (error.operation, error.code) == ("gettoken", RATE_LIMITED) else 0


def _kind_and_wait(error: IntegrationError) -> tuple[Kind, int]:
    if isinstance(error, OutcomeUnknownError):
        return Kind.UNCLEAR, 0
    if isinstance(error, RateLimitedError):
        return Kind.POSTPONED, error.retry_after_seconds
    if isinstance(error, TransientError):
        return Kind.NOT_SENT, 0
    if isinstance(error, ConfigurationError):
        return Kind.POSTPONED, CONFIGURATION_WAIT_SECONDS
    # Not "refused": not the message was refused: its token could not be fetched, and a proxy's page says nothing of
    # what WeCom would say.
    if isinstance(error, UnexpectedResponseError) and error.operation not in SENDS:
        return Kind.POSTPONED, CONFIGURATION_WAIT_SECONDS
    if isinstance(error, RecipientError) and error.code not in CONTENT_CODES:
        return Kind.RECIPIENTS, 0
    return Kind.REFUSED, 0
