"""Tells operators once for each change when the engine stops and runs again; repeats if all ways failed.

Every process checks every few seconds; in each period one of them does the work. Each process remembers the contacts
for mail and group robots, for times without the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import redis
from django.conf import settings
from django.core.mail import send_mail
from django.db import connections
from django.db.models import Case, F, Q, QuerySet, When
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import gettext as _

from guanwecom.operations import health
from guanwecom.operations.health import EngineHealth
from integrations.clients.errors import IntegrationError
from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom.builders import TEXT_BYTES, body_bytes, robot_text
from integrations.clients.wecom.client import RobotClient
from integrations.core import client_factory, installation
from integrations.core.background import database_clock
from integrations.core.heartbeats import HEARTBEAT_SECONDS
from integrations.core.redis import valkey
from integrations.models import Installation, SiteAddress
from integrations.models.installation import THE_ONE
from notifications.models import OperatorContacts, Robot

logger = logging.getLogger(__name__)

# Problems must last so long before operators are told: replaced processes are missing for a moment, and after an outage
# the database has no fresh heartbeats. With the silence before it, this is less than a minute.
CONFIRMED_AFTER = timedelta(seconds=20)
_PERIOD = timedelta(seconds=HEARTBEAT_SECONDS - 1)
# A check further in the future was written under a wrong clock.
_CLOCK_TOLERANCE = timedelta(minutes=1)


def check() -> None:
    """Check the engine, unless another process has just done so. Raises django.db.Error."""
    if not _claim_check():
        return
    state = health.read()
    if state.is_copy:  # a copy sends nothing, not even this
        return
    row = read()
    if is_new(row, state.problems, now=database_clock()()):
        _run_in_thread(partial(_tell_or_forget, state, row.engine_notified))


def _tell_or_forget(state: EngineHealth, known: str) -> None:
    """Tell operators. If all ways failed, restore `known`, the problems told before, so that it is tried again."""
    try:
        if not tell_state(state):
            _find_row().update(engine_notified=known, engine_problems_since=Now())
    finally:
        connections.close_all()


_IS_DUE = (
    Q(engine_checked_at__isnull=True)
    | Q(engine_checked_at__lt=Now() - _PERIOD)
    | Q(engine_checked_at__gt=Now() + _CLOCK_TOLERANCE)
)


def read() -> Installation:
    """Return the row with the columns of the watch. Raises Installation.DoesNotExist if it is missing."""
    return _find_row().only("engine_problems", "engine_notified", "engine_problems_since").get()


def _find_row() -> QuerySet[Installation]:
    return Installation.objects.filter(pk=THE_ONE)


def _claim_check() -> bool:
    """Claim this period's check. Problems found before a gap in the checks, such as an outage, count as new."""
    found = list(_find_row().values_list(Case(When(_IS_DUE, then=True), default=False)))
    if not found:
        installation.present()
    if found != [(True,)]:
        return False
    is_after_gap = Q(engine_checked_at__lt=Now() - CONFIRMED_AFTER)
    since = Case(When(is_after_gap, then=Now()), default=F("engine_problems_since"))
    return bool(_find_row().filter(_IS_DUE).update(engine_checked_at=Now(), engine_problems_since=since))


def is_new(row: Installation, problems: list[str], *, now: datetime) -> bool:
    """Store the problems. Return whether operators are to be told: they lasted, and are new to them or all is well
    again. Of several callers one gets True."""
    found, since = ",".join(sorted(problems)), row.engine_problems_since
    rows = _find_row().filter(engine_problems=row.engine_problems, engine_notified=row.engine_notified)
    if found != row.engine_problems or since is None or since > now:
        rows.update(engine_problems=found, engine_problems_since=now)
        return False
    if found == row.engine_notified or now - since < CONFIRMED_AFTER or not rows.update(engine_notified=found):
        return False
    known = set(filter(None, row.engine_notified.split(",")))
    return not problems or not known.issuperset(problems)


def tell_state(state: EngineHealth) -> bool:
    """Log the state, and send it to operators. Return the result of tell_operators."""
    if state.problems:
        logger.error("the engine stands still: %s", ", ".join(state.problems))
    else:
        logger.warning("the engine runs again")
    with translation.override(settings.LANGUAGE_CODE):
        subject, lines = _("Pushes run again"), [_("Beat and the workers of all queues are running.")]
        if state.problems:
            subject = _("Pushes stand still: %(parts)s") % {"parts": health.name_parts(state)}
            lines = [line for one in health.explain(state) for line in (*one.lines, "")]
        address = _("Overview: %(url)s") % {"url": f"{SiteAddress.objects.default().url}admin/"}
        return tell_operators(subject, "\n".join([*lines, address]))


# --- Without the database, Valkey chooses the process that tells operators ---

_AWAY_KEY = "operations:database-away"
_AWAY_SECONDS = 7 * 24 * 60 * 60


class DatabaseWatch:
    """The database's state as seen by one process, noted with each heartbeat.

    One of all processes tells operators that the database is unreachable, and one that it is back. Without Valkey none
    can be chosen, and only an external monitor is left.
    """

    def __init__(self, clock: Callable[[], float] = read_boot_clock) -> None:
        self._clock = clock
        self._answers, self._since = True, clock()

    def note(self, *, answers: bool) -> None:
        """Note whether the database answered, and tell operators of a change that has lasted."""
        now = self._clock()
        if answers != self._answers:
            self._answers, self._since = answers, now
        if now - self._since < CONFIRMED_AFTER.total_seconds():
            return
        try:
            is_news = valkey().delete(_AWAY_KEY) if answers else valkey().set(_AWAY_KEY, 1, nx=True, ex=_AWAY_SECONDS)
        except redis.RedisError:
            return
        if is_news:
            log, tell = (logger.warning, _tell_that_it_is_back) if answers else (logger.error, _tell_that_it_is_away)
            log("the database %s", "answers again" if answers else "does not answer")
            _run_in_thread(tell)


def _run_in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="tell-operators", daemon=True).start()


def _tell_that_it_is_away() -> None:
    with translation.override(settings.LANGUAGE_CODE):
        what = _("The database does not answer: nobody can sign in, and nothing is pushed.")
        where = _("Start PostgreSQL, or read its log. The address /healthz/ready says what it answers.")
        is_told = tell_operators(_("The database does not answer"), f"{what}\n{where}")
    if not is_told:
        with suppress(redis.RedisError):
            valkey().expire(_AWAY_KEY, CONFIRMED_AFTER)


def _tell_that_it_is_back() -> None:
    with translation.override(settings.LANGUAGE_CODE):
        text = _("Pushes that were missed go out within their grace period.")
        tell_operators(_("The database answers again"), text)


REMEMBERED_SECONDS = 60.0
# Mail addresses and robots.
Contacts = tuple[list[str], list[RobotClient]]
# The remembered contacts, with the time when they are read again.
_last: list[tuple[float, Contacts]] = []


def remember() -> None:
    """Read the contacts if they are older than REMEMBERED_SECONDS; none in a copy, whose operators hear from the
    original. Raises django.db.Error."""
    now = read_boot_clock()
    if _last and now < _last[0][0]:
        return
    contacts: Contacts = [], []
    if not installation.is_copy():
        robots = [client_factory.robot_of_environment()]
        chosen = Robot.objects.select_related("corp").filter(pk__in=OperatorContacts.objects.values("robot")).first()
        if chosen is not None:
            try:
                robots.append(client_factory.robot_client(chosen.corp, chosen.key))
            except IntegrationError as error:  # no key decrypts it any more
                logger.error("the operators' robot cannot be used: %s", type(error).__name__)
        contacts = OperatorContacts.objects.addresses(), [robot for robot in robots if robot is not None]
    _last[:] = [(now + REMEMBERED_SECONDS, contacts)]


def tell_operators(subject: str, body: str) -> bool:
    """Send a message to the remembered contacts, else to those in the environment. Return False if all ways failed."""
    if _last:
        emails, robots = _last[0][1]
    else:
        robot = client_factory.robot_of_environment()
        emails, robots = settings.OPERATOR_EMAILS, [] if robot is None else [robot]
    told_count = 0
    if emails:
        try:
            told_count += bool(send_mail(subject, body, None, emails))
        except OSError as error:
            logger.error("operators could not be told of the engine: %s", type(error).__name__)
    text = f"{subject}\n{body}".encode()[:TEXT_BYTES].decode(errors="ignore")
    for one in robots:
        try:
            one.webhook_send(body_bytes(robot_text(text)))
            told_count += 1
        except IntegrationError as error:
            logger.error("the operators' group could not be told: %s", error)
    return told_count > 0 or not (emails or robots)
