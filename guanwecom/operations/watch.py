"""Messages to operators when the push engine stops and when it runs again, one for each change.

Every process calls check_engine() every few seconds, and one of them checks in each period. A message that reached
nobody is sent again. Each process caches the operators' mail addresses and group robots, for outages of the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

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
from integrations.clients.wecom.builders import TEXT_BYTES, build_robot_text, encode_body
from integrations.clients.wecom.client import RobotClient
from integrations.core import client_factory, installation
from integrations.core.background import database_now
from integrations.core.heartbeats import HEARTBEAT_SECONDS
from integrations.core.redis import valkey
from integrations.models import Installation, SiteAddress
from integrations.models.installation import SINGLETON_PK
from notifications.models import OperatorContacts, Robot

logger = logging.getLogger(__name__)

# How long problems must last before operators are notified; shorter ones are normal, as after a restart. Added to the
# time after which a silent process counts as dead, it is less than a minute.
CONFIRMED_AFTER = timedelta(seconds=20)
_CHECK_PERIOD = timedelta(seconds=HEARTBEAT_SECONDS - 1)
# A recorded check that is further in the future is ignored: the database's clock was wrong then.
_CLOCK_TOLERANCE = timedelta(minutes=1)

_IS_CHECK_DUE = (
    Q(engine_checked_at__isnull=True)
    | Q(engine_checked_at__lt=Now() - _CHECK_PERIOD)
    | Q(engine_checked_at__gt=Now() + _CLOCK_TOLERANCE)
)


def _select_row() -> QuerySet[Installation]:
    return Installation.objects.filter(pk=SINGLETON_PK)


def check_engine() -> None:
    """Check the engine, unless another process has just done so, and notify operators of a change. After a gap in the
    checks, such as an outage, known problems must last for CONFIRMED_AFTER again. Raises django.db.Error."""
    found = list(_select_row().values_list(Case(When(_IS_CHECK_DUE, then=True), default=False), flat=True))
    if not found:
        installation.load_installation()  # creates the row
    if found != [True]:
        return
    is_after_gap = Q(engine_checked_at__lt=Now() - CONFIRMED_AFTER)
    since = Case(When(is_after_gap, then=Now()), default=F("engine_problems_since"))
    if not _select_row().filter(_IS_CHECK_DUE).update(engine_checked_at=Now(), engine_problems_since=since):
        return
    state = health.read_state()
    if state.is_copy:  # a copy sends nothing, not even this message
        return
    row = _select_row().only("engine_problems", "engine_notified", "engine_problems_since").get()
    if record_problems(row, state.problems, now=database_now()):
        _run_in_thread(partial(report_engine_state, state, row.engine_notified))


def record_problems(row: Installation, problems: list[str], *, now: datetime) -> bool:
    """Store the problems. Return whether operators must be notified: new problems have lasted for CONFIRMED_AFTER, or
    there are none any more. Of several simultaneous callers, only one gets True."""
    found, since = ",".join(sorted(problems)), row.engine_problems_since
    rows = _select_row().filter(engine_problems=row.engine_problems, engine_notified=row.engine_notified)
    if found != row.engine_problems or since is None or since > now:
        rows.update(engine_problems=found, engine_problems_since=now)
        return False
    if found == row.engine_notified or now - since < CONFIRMED_AFTER or not rows.update(engine_notified=found):
        return False
    return not problems or not set(row.engine_notified.split(",")).issuperset(problems)


def report_engine_state(state: EngineHealth, known: str) -> None:
    """Log the state, and send it to operators. `known`: the problems that they know of. If no message could be sent,
    store `known` again, so that the message is repeated after CONFIRMED_AFTER."""
    try:
        if state.problems:
            logger.error("the push engine has stopped: %s", ", ".join(state.problems))
        else:
            logger.warning("the push engine runs again")
        with translation.override(settings.LANGUAGE_CODE):
            subject, lines = _("Pushes run again"), [_("Beat and the workers of all queues are running.")]
            if state.problems:
                names = {
                    "copy": _("copy of an installation"),
                    "valkey": "Valkey",
                    "beat": "beat",
                    "mail": _("mail door"),
                    "web": _("web"),
                    "tick": _("scheduled work"),
                    "slots": _("overdue times"),
                }
                parts = [code.partition(":") for code in state.problems]
                named = ", ".join(names.get(kind) or name for kind, _separator, name in parts)
                subject = _("Pushes have stopped: %(parts)s") % {"parts": named}
                lines = [line for one in health.explain_problems(state) for line in (*one.lines, "")]
            address = _("Overview: %(url)s") % {"url": f"{SiteAddress.objects.default().url}admin/"}
            is_sent = notify_operators(subject, "\n".join([*lines, address]))
        if not is_sent:
            _select_row().update(engine_notified=known, engine_problems_since=Now())
    finally:
        connections.close_all()


# --- Outages of the database: a key in Valkey chooses the process that notifies -------------------------------------

_AWAY_KEY = "operations:database-away"
_AWAY_SECONDS = 7 * 24 * 60 * 60  # in case no process notes the end of the outage


class DatabaseWatch:
    """The state of the database as seen by this process, noted with each heartbeat.

    Through a key in Valkey, only one process notifies operators of an outage, and one of its end. While Valkey is also
    unreachable, nobody is notified, and only an external monitor notices the outage.
    """

    def __init__(self, clock: Callable[[], float] = read_boot_clock) -> None:
        self._clock = clock
        self._answers, self._since = True, clock()

    def note_answer(self, *, answers: bool) -> None:
        """Note whether the database answered, and notify operators of a change that has lasted for CONFIRMED_AFTER."""
        now = self._clock()
        if answers != self._answers:
            self._answers, self._since = answers, now
        if now - self._since < CONFIRMED_AFTER.total_seconds():
            return
        try:
            is_chosen = valkey().delete(_AWAY_KEY) if answers else valkey().set(_AWAY_KEY, 1, nx=True, ex=_AWAY_SECONDS)
        except redis.RedisError:
            return
        if not is_chosen:
            return
        if answers:
            logger.warning("the database answers again")
        else:
            logger.error("the database does not answer")
        _run_in_thread(partial(_report_database_state, answers=answers))


def _run_in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="tell-operators", daemon=True).start()


def _report_database_state(*, answers: bool) -> None:
    """Notify operators that the database is unreachable or answers again. If the message of an outage could not be
    sent, let any process try again after CONFIRMED_AFTER."""
    with translation.override(settings.LANGUAGE_CODE):
        if answers:
            subject = _("The database answers again")
            body = _("Pushes that were missed go out within their grace period.")
        else:
            subject = _("The database does not answer")
            what = _("The database does not answer: nobody can sign in, and nothing is pushed.")
            where = _("Start PostgreSQL, or read its log. The address /healthz/ready says what it answers.")
            body = f"{what}\n{where}"
        is_sent = notify_operators(subject, body)
    if not is_sent and not answers:
        with suppress(redis.RedisError):
            valkey().expire(_AWAY_KEY, CONFIRMED_AFTER)


# How long contacts are cached.
CONTACTS_READ_SECONDS = 60.0


class CachedContacts(NamedTuple):
    emails: list[str]
    robots: list[RobotClient]
    expire_at: float  # on the clock of read_boot_clock


# Empty, or one element.
_cached_contacts: list[CachedContacts] = []


def refresh_contacts() -> None:
    """Read the contacts if the cached ones are older than CONTACTS_READ_SECONDS. In a copy there are none, since the
    original notifies the operators. Raises django.db.Error."""
    now = read_boot_clock()
    if _cached_contacts and now < _cached_contacts[0].expire_at:
        return
    contacts = CachedContacts([], [], now + CONTACTS_READ_SECONDS)
    if not installation.is_copy():
        robots = [client_factory.make_operator_robot_client()]
        chosen = Robot.objects.select_related("corp").filter(pk__in=OperatorContacts.objects.values("robot")).first()
        if chosen is not None:
            try:
                robots.append(client_factory.robot_client(chosen.corp, chosen.key))
            except IntegrationError as error:  # no key decrypts the robot's address
                logger.error("the operators' robot cannot be used: %s", type(error).__name__)
        contacts = contacts._replace(
            emails=OperatorContacts.objects.addresses(), robots=[robot for robot in robots if robot is not None]
        )
    _cached_contacts[:] = [contacts]


def notify_operators(subject: str, body: str) -> bool:
    """Send a message to the cached contacts, or to those in the settings if none are cached. Return False if there are
    contacts but no message was sent."""
    if _cached_contacts:
        emails, robots = _cached_contacts[0].emails, _cached_contacts[0].robots
    else:
        robot = client_factory.make_operator_robot_client()
        emails, robots = settings.OPERATOR_EMAILS, [] if robot is None else [robot]
    sent_count = 0
    if emails:
        try:
            sent_count += bool(send_mail(subject, body, None, emails))
        except OSError as error:
            logger.error("the mail to operators could not be sent: %s", type(error).__name__)
    text = f"{subject}\n{body}".encode()[:TEXT_BYTES].decode(errors="ignore")
    for each in robots:
        try:
            each.webhook_send(encode_body(build_robot_text(text)))
            sent_count += 1
        except IntegrationError as error:
            logger.error("the message to the operators' group could not be sent: %s", error)
    return sent_count > 0 or not (emails or robots)
