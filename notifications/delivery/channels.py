"""The channels by which a delivery is sent: WeCom's app, group robots, mail.

Each channel has a Sender, which makes the request to the limiter and the call. The call returns an Outcome.
"""

from __future__ import annotations

import json
import smtplib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.mime.image import MIMEImage
from email.utils import format_datetime
from enum import StrEnum, auto
from functools import partial
from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.utils.html import escape, urlize

from accounts.models import fold_userid
from integrations.clients.errors import (
    ConfigurationError,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
    UnreadableSecretError,
)
from integrations.clients.wecom.client import SendResult
from integrations.clients.wecom.errcodes import NOBODY_REACHED, RATE_LIMITED
from integrations.core import client_factory
from integrations.models import Corp
from notifications.delivery.limiter import AppLimits, Request, Scope
from notifications.models import Attempt, Channel, Medium, Priority, Robot

# The operations of our clients that send a message.
SENDING_OPERATIONS = frozenset({"message_send", "webhook_send"})
# While a configuration is broken, one message of the company is tried this often.
CONFIGURATION_WAIT_SECONDS = 120
# Codes by which WeCom refuses the content: it breaks the content policy, makes clients crash, has forbidden words.
CONTENT_CODES = frozenset({40201, 82004, 85002})


class OutcomeKind(StrEnum):
    ACCEPTED = auto()
    REFUSED = auto()  # certain and final
    RECIPIENTS = auto()  # certain and final: the people are refused, not the message
    NOT_SENT = auto()  # certain: try again
    POSTPONED = auto()  # certain: the company, robot or mail server takes nothing for a while
    UNCLEAR = auto()  # it may have been delivered


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attempt. `answer` and `message` hold no secret; `wait_seconds` is for POSTPONED alone.

    `is_configuration`: nothing can be sent for the company, because its configuration is broken; after `held_seconds`
    one message is tried, to see whether it works again.
    """

    kind: OutcomeKind
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
        """Return whether everybody was accepted, without a warning and without a code for later changes of the card."""
        return self.kind == OutcomeKind.ACCEPTED and not (
            self.message or self.response_code or self.invalid_userids or self.unlicensed_userids
        )

    @property
    def proves_configuration(self) -> bool:
        """Return whether the other side judged the message, so that the settings work."""
        is_judged = self.kind == OutcomeKind.REFUSED and self.errcode is not None
        return is_judged or self.kind in {OutcomeKind.ACCEPTED, OutcomeKind.RECIPIENTS}

    @property
    def is_rate_limited(self) -> bool:
        """Return whether the other side limits the rate, so that other messages must slow down too."""
        return self.kind == OutcomeKind.POSTPONED and not self.is_configuration

    @property
    def is_for_everyone(self) -> bool:
        """Return whether the refusal concerns every recipient: WeCom says so, or names nobody."""
        named = self.invalid_userids or self.unlicensed_userids
        return self.kind == OutcomeKind.RECIPIENTS and (self.errcode == NOBODY_REACHED or not named)


def _send_body(send: Callable[[bytes], SendResult], body: bytes) -> Outcome:
    """Send the bytes by a client's method and convert its result or error into an outcome."""
    try:
        result = send(body)
    except IntegrationError as error:
        return make_error_outcome(error)
    return Outcome(
        OutcomeKind.ACCEPTED,
        message=result.warning,
        errcode=0,
        msgid=result.msgid,
        response_code=result.response_code,
        invalid_userids=result.invalid_userids,
        unlicensed_userids=result.unlicensed_userids,
    )


def make_error_outcome(error: IntegrationError) -> Outcome:
    """Convert a client's error into an outcome: whether the message may have gone out, and how many seconds to wait.

    It never raises: an error of any other class is a refusal.
    """
    kind, wait_seconds = OutcomeKind.REFUSED, 0
    if isinstance(error, OutcomeUnknownError):
        kind = OutcomeKind.UNCLEAR
    elif isinstance(error, RateLimitedError):
        kind, wait_seconds = OutcomeKind.POSTPONED, error.retry_after_seconds
    elif isinstance(error, TransientError):
        kind = OutcomeKind.NOT_SENT
    # An unexpected answer to another call, such as gettoken, does not refuse the message. It may be the page of a proxy
    # between us and WeCom.
    elif isinstance(error, ConfigurationError) or (
        isinstance(error, UnexpectedResponseError) and error.operation not in SENDING_OPERATIONS
    ):
        kind, wait_seconds = OutcomeKind.POSTPONED, CONFIGURATION_WAIT_SECONDS
    elif isinstance(error, RecipientError) and error.code not in CONTENT_CODES:
        kind = OutcomeKind.RECIPIENTS
    held_seconds = CONFIGURATION_WAIT_SECONDS if kind == OutcomeKind.POSTPONED else 0
    if held_seconds and isinstance(error, RateLimitedError):
        # Too many tokens were requested, or with a wrong Secret: WeCom gives this address no token for an hour, so the
        # company is blocked. The limiter handles other limits.
        is_token_limit = (error.operation, error.code) == ("gettoken", RATE_LIMITED)
        held_seconds = error.retry_after_seconds if is_token_limit else 0
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


# The message's bytes name the company's former app. WeCom would refuse them, which would block the company.
OTHER_APP = Outcome(OutcomeKind.REFUSED, message="the company's app was changed after this message was made")
ROBOT_GONE = Outcome(OutcomeKind.REFUSED, message="the robot was deleted after this message was made")
NO_THREAD = Outcome(OutcomeKind.NOT_SENT, message="the call did not begin in time")
NOT_COUNTED = Outcome(OutcomeKind.NOT_SENT, message="the limiter lost its counts before the call began")
NOT_CLAIMED = Outcome(OutcomeKind.NOT_SENT, message="the database did not confirm that the call may begin")
LOST_WORKER = Outcome(OutcomeKind.UNCLEAR, message="the worker ended before the answer was written down")


@dataclass(slots=True)
class Sendable:
    """The columns of a delivery that a call needs, as they were read. `due_at`: when its run was due, if that was read.
    A claim sets `corp` and `attempt`, and increases `attempt_count`.

    Not a model, because creating an instance of Delivery takes a fifth of the time of a call.
    """

    pk: int
    run_id: int
    corp_id: int
    channel: str
    robot_id: int | None
    corpid: str
    agentid: int
    body: bytes
    created_at: datetime
    priority: int
    recipient_count: int
    attempt_count: int
    due_at: datetime | None = None
    corp: Corp = field(init=False, repr=False, compare=False)
    attempt: Attempt = field(init=False, repr=False, compare=False)


# Columns of Delivery in the order of Sendable's fields.
SENDABLE_COLUMNS = (
    *("pk", "run_id", "corp_id", "channel", "robot_id", "corpid", "agentid", "body", "created_at"),
    *("priority", "recipient_count", "attempt_count"),
)

Call = Callable[[], Outcome]


class Sender:
    """Base of the senders of a channel, without limits per member and without a daily budget."""

    # Whether the other side drops a repeat of the same bytes. If not, an unclear outcome becomes unknown at once.
    is_repeat_safe: ClassVar[bool] = False

    def make_request(self, delivery: Sendable, corp: Corp, *, daily_budget: int) -> Request:
        """Return the limiter's request for the delivery. `daily_budget`: person-messages per day; 0: no limit."""
        return Request(
            id=f"{delivery.pk}.{delivery.attempt_count + 1}",
            scopes=self.make_held_scopes(delivery),
            is_urgent=delivery.priority == Priority.URGENT,
        )

    def make_call(self, delivery: Sendable) -> Call:
        """Return the call, ready to be made in a thread without a database. It raises only unforeseen errors."""
        raise NotImplementedError

    def make_held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        """Return the scopes to slow down when the other side limits the rate."""
        raise NotImplementedError


SEND_API = "message_send"
# The share of calls per minute and hour, of parallel calls and of daily budgets kept for urgent messages, in percent.
RESERVED_PERCENT = 2
# Messages of one app to one member.
MEMBER_PER_HOUR = 1000
# Messages to one robot. Source: developer.work.weixin.qq.com/document/path/91770.
ROBOT_PER_MINUTE = 20


class AppSender(Sender):
    """Sender of Channel.WECOM: messages of the company's app."""

    is_repeat_safe = True

    def make_request(self, delivery: Sendable, corp: Corp, *, daily_budget: int) -> Request:
        app = make_app_limits(delivery.corpid, delivery.agentid, daily_budget)
        userids = json.loads(bytes(delivery.body))["touser"].split("|") if app.limits_members else ()
        return Request(
            id=f"{delivery.pk}.{delivery.attempt_count + 1}",
            scopes=make_app_scopes(corp),
            is_urgent=delivery.priority == Priority.URGENT,
            app=app,
            members=tuple(map(fold_userid, userids)),
            persons=delivery.recipient_count,
        )

    def make_held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        return (make_company_scope(delivery.corpid),)

    def make_call(self, delivery: Sendable) -> Call:
        corp, body = delivery.corp, bytes(delivery.body)
        if (delivery.corpid, delivery.agentid) != (corp.corpid, corp.agentid):
            return lambda: OTHER_APP
        try:
            client = client_factory.wecom_client(corp)
        except IntegrationError as error:
            return partial(make_error_outcome, error)
        return partial(_send_body, client.message_send, body)


def make_app_limits(corpid: str, agentid: int, daily_budget: int = 0) -> AppLimits:
    """Return the limits of an app. Source: developer.work.weixin.qq.com/document/path/90454 (30 messages a minute to a
    member, 1000 an hour)."""
    per_minute = settings.LIMIT_MEMBER_PER_MINUTE
    per_hour = MEMBER_PER_HOUR if per_minute else 0
    return AppLimits(f"{corpid}:{agentid}", per_minute, per_hour, daily_budget, RESERVED_PERCENT)


def make_app_scopes(corp: Corp) -> tuple[Scope, ...]:
    """Return the scopes that a call of message/send counts against."""
    return (make_address_scope(corp), make_company_scope(corp.corpid))


def make_company_scope(corpid: str, api: str = SEND_API) -> Scope:
    """Return the scope of a CorpId for one API. Companies that share a CorpId share its limit."""
    return Scope(
        f"company:{corpid}:{api}",
        per_minute=settings.LIMIT_COMPANY_PER_MINUTE,
        per_hour=settings.LIMIT_COMPANY_PER_HOUR,
        parallel=settings.LIMIT_COMPANY_PARALLEL,
        reserved_percent=RESERVED_PERCENT,
    )


def make_address_scope(corp: Corp, api: str = SEND_API) -> Scope:
    """Return the scope of the public address that WeCom sees: the proxy's if there is one, else this process's."""
    proxy = urlsplit(corp.proxy_url) if corp.proxy_url else None  # no call is made if it cannot be decrypted
    name = f"proxy:{proxy.hostname}:{proxy.port}" if proxy is not None else settings.EGRESS_NAME
    return Scope(
        f"address:{name}:{api}",
        per_minute=settings.LIMIT_ADDRESS_PER_MINUTE,
        per_hour=settings.LIMIT_ADDRESS_PER_HOUR,
        reserved_percent=RESERVED_PERCENT,
    )


class RobotSender(Sender):
    """Sender of Channel.ROBOT: messages of a group robot."""

    def make_held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        return (Scope(f"robot:{delivery.robot_id}", per_minute=ROBOT_PER_MINUTE),)

    def make_call(self, delivery: Sendable) -> Call:
        robot, body = Robot.objects.filter(pk=delivery.robot_id or 0).first(), bytes(delivery.body)
        if robot is None:
            return lambda: ROBOT_GONE
        try:
            client = client_factory.robot_client(delivery.corp, robot.key)
        except UnreadableSecretError as error:
            return partial(make_error_outcome, error)
        return partial(_send_body, client.webhook_send, body)


# A mail server's codes from this one on are permanent errors (RFC 5321, 4.2.1); lower ones are temporary.
_PERMANENT_FROM = 500


class MailSender(Sender):
    """Sender of Channel.EMAIL: one mail to one person for each delivery."""

    def make_held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        return (Scope("mail", per_minute=settings.LIMIT_MAIL_PER_MINUTE),)

    def make_call(self, delivery: Sendable) -> Call:
        mail = json.loads(bytes(delivery.body))
        headers = {"Message-ID": mail["message_id"], "Date": format_datetime(delivery.created_at)}
        message = EmailMultiAlternatives(mail["subject"], mail["text"], mail["from"], [mail["to"]], headers=headers)
        if medium := mail.get("medium"):
            row = Medium.objects.only("kind", "content", "content_type").get(pk=medium["id"])
            content, name = bytes(row.content), medium["name"]
            if row.kind == Medium.Kind.PICTURE:  # shown below the text
                picture = MIMEImage(content, row.media_type.partition("/")[2])
                picture.add_header("Content-ID", "<chart>")
                picture.add_header("Content-Disposition", "inline", filename=name)
                text = urlize(message.body, nofollow=True, autoescape=True).replace("\n", "<br>\n")
                shown = f'<img src="cid:chart" width="390" alt="{escape(name)}">'
                message.attach_alternative(f'<p style="font-family:sans-serif">{text}</p><p>{shown}</p>', "text/html")
                message.attach(picture)
            else:
                message.attach(name, content, row.media_type)
        return partial(send_mail, message)


def send_mail(message: EmailMessage) -> Outcome:
    """Hand a mail to the mail server. Raises only unforeseen errors."""
    connection = get_connection()
    try:
        connection.open()
    except smtplib.SMTPAuthenticationError as error:
        return Outcome(
            OutcomeKind.POSTPONED,
            message=f"the mail server refused our user name or password: {error.smtp_code}",
            wait_seconds=CONFIGURATION_WAIT_SECONDS,
            is_configuration=True,
        )
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(OutcomeKind.NOT_SENT, message=f"no mail server: {type(error).__name__}")
    try:
        connection.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        return _make_mail_refusal(max(code for code, _text in error.recipients.values()), OutcomeKind.RECIPIENTS)
    except smtplib.SMTPResponseException as error:
        return _make_mail_refusal(error.smtp_code, OutcomeKind.REFUSED)
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(OutcomeKind.UNCLEAR, message=f"the mail server went away: {type(error).__name__}")
    finally:
        with suppress(OSError, smtplib.SMTPException):  # errors while closing do not change the outcome
            connection.close()
    return Outcome(OutcomeKind.ACCEPTED, errcode=0, msgid=str(message.extra_headers["Message-ID"]))


def _make_mail_refusal(code: int, kind: OutcomeKind) -> Outcome:
    message = f"the mail server answered {code}"
    return Outcome(kind if code >= _PERMANENT_FROM else OutcomeKind.NOT_SENT, message=message, errcode=code)


SENDERS: dict[str, Sender] = {Channel.WECOM: AppSender(), Channel.ROBOT: RobotSender(), Channel.EMAIL: MailSender()}
