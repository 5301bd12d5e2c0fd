"""Tells operators, by mail and by a group robot. Whom, each process remembers, for when the database is away."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from django.conf import settings
from django.core.mail import send_mail

from integrations.clients.clock import read_boot_clock
from integrations.clients.errors import IntegrationError
from integrations.clients.wecom.builders import TEXT_BYTES, body_bytes, robot_text
from integrations.clients.wecom.client import RobotClient
from integrations.core import client_factory, installation
from notifications.models import OperatorContacts

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS = 60.0


@dataclass(frozen=True)
class Contacts:
    emails: list[str] = field(default_factory=list)
    robots: list[RobotClient] = field(default_factory=list)


@dataclass(frozen=True)
class _Remembered:
    contacts: Contacts
    until: float


_last: list[_Remembered] = []


def remember() -> None:
    """Read whom to tell, where that is older than REMEMBERED_SECONDS. Raises django.db.Error."""
    now = read_boot_clock()
    if not (_last and now < _last[0].until):
        _last[:] = [_Remembered(_read(), now + REMEMBERED_SECONDS)]


def _read() -> Contacts:
    """Nobody in a copy of an installation: its operators are told by the original."""
    if installation.is_copy():
        return Contacts()
    robots = [client_factory.robot_of_environment()]
    chosen = OperatorContacts.objects.chosen_robot()
    if chosen is not None:
        try:
            robots.append(client_factory.robot_client(chosen.corp, chosen.key))
        except IntegrationError as error:  # no key opens it any more
            logger.error("the operators' robot cannot be used: %s", type(error).__name__)
    return Contacts(OperatorContacts.objects.addresses(), [robot for robot in robots if robot is not None])


def tell(subject: str, body: str) -> bool:
    """Send both ways what was remembered last; what is set in the environment where nothing was. A way that fails is a
    line in the log. False where every way failed."""
    contacts = _last[0].contacts if _last else Contacts(settings.OPERATOR_EMAILS, _of_environment())
    way_count, told_count = bool(contacts.emails) + len(contacts.robots), 0
    if contacts.emails:
        try:
            told_count += bool(send_mail(subject, body, None, contacts.emails))
        except OSError as error:
            logger.error("operators could not be told of the engine: %s", type(error).__name__)
    text = f"{subject}\n{body}".encode()[:TEXT_BYTES].decode(errors="ignore")
    for robot in contacts.robots:
        try:
            robot.webhook_send(body_bytes(robot_text(text)))
            told_count += 1
        except IntegrationError as error:
            logger.error("the operators' group could not be told: %s", error)
    return told_count > 0 or not way_count


def _of_environment() -> list[RobotClient]:
    robot = client_factory.robot_of_environment()
    return [] if robot is None else [robot]


def forget() -> None:
    """Forget whom this process remembers."""
    _last.clear()
