"""Mails operators when the engine stops and when it runs again, once for each change.

Every process looks every few seconds; of all that look within a period one does the work.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import gettext as _

from guanwecom.operations import health, messages
from guanwecom.operations.health import EngineHealth
from integrations.core.background import database_clock
from integrations.core.heartbeats import HEARTBEAT_SECONDS
from integrations.models import EngineWatch, SiteAddress

logger = logging.getLogger(__name__)

# What is found must last so long before anybody is told: processes that are replaced are missed for a moment, and a
# database that was away has no fresh signs of life. Together with the silence before it, less than a minute.
CONFIRMED_AFTER = timedelta(seconds=25)
_ROW = 1
_PERIOD = timedelta(seconds=HEARTBEAT_SECONDS - 1)
# A look that lies further ahead was written under a wrong clock.
_CLOCK_TOLERANCE = timedelta(minutes=1)


def check() -> None:
    """Look, unless another process has just done so. Raises django.db.Error."""
    if _claim():
        state = health.read()
        # Nothing is sent from a copy, not even that.
        if not state.is_copy and is_new(state.problems, now=database_clock()()):
            threading.Thread(target=tell, args=[state], name="tell-operators", daemon=True).start()


def _claim() -> bool:
    is_due = Q(checked_at__isnull=True) | Q(checked_at__lt=Now() - _PERIOD) | Q(checked_at__gt=Now() + _CLOCK_TOLERANCE)
    rows = EngineWatch.objects.filter(pk=_ROW)
    if rows.filter(is_due).update(checked_at=Now()):
        return True
    if not rows.exists():
        EngineWatch.objects.bulk_create([EngineWatch(pk=_ROW)], ignore_conflicts=True)
    return False


def is_new(problems: list[str], *, now: datetime) -> bool:
    """Note what was found, and whether operators are to be told of it: it has lasted, and something of it is new to
    them or all is well again. Of several callers one gets True."""
    found = ",".join(sorted(problems))
    watch = EngineWatch.objects.get(pk=_ROW)
    rows = EngineWatch.objects.filter(pk=_ROW, found=watch.found, notified=watch.notified)
    if found != watch.found or watch.found_since is None or watch.found_since > now:
        rows.update(found=found, found_since=now)
        return False
    if found == watch.notified or now - watch.found_since < CONFIRMED_AFTER or not rows.update(notified=found):
        return False
    known = set(filter(None, watch.notified.split(",")))
    return not problems or not known.issuperset(problems)


def tell(state: EngineHealth) -> None:
    """A line in the log, and a mail where addresses are set."""
    if state.problems:
        logger.error("the engine stands still: %s", ", ".join(state.problems))
    else:
        logger.warning("the engine runs again")
    if not settings.OPERATOR_EMAILS:
        return
    with translation.override(settings.LANGUAGE_CODE):
        subject, body = mail(state)
        try:
            send_mail(subject, body, None, settings.OPERATOR_EMAILS)
        except OSError as error:
            logger.error("operators could not be told of the engine: %s", type(error).__name__)


def mail(state: EngineHealth) -> tuple[str, str]:
    """Subject and text, in the language of the moment."""
    address = _("Overview: %(url)s") % {"url": f"{SiteAddress.objects.default().url}admin/"}
    if not state.problems:
        return _("Pushes run again"), "\n".join([_("Beat and the workers of all queues are running."), address])
    lines = [line for one in messages.explanations(state) for line in (*one.lines, "")]
    return _("Pushes stand still: %(parts)s") % {"parts": messages.names(state)}, "\n".join([*lines, address])
