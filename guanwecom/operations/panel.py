"""The engine's panel on the admin index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from accounts.users.scopes import sees_all
from guanwecom.operations import explanations, health
from guanwecom.operations.explanations import EngineExplanation
from guanwecom.operations.health import EngineHealth, Served
from integrations.core.background import database_clock
from integrations.core.hooks import Line
from integrations.models import Installation
from notifications.models import MakerQueue


@dataclass(frozen=True)
class Panel:
    """`lines` and `explanations` are for those who see all companies; others read `sentence` where something fails.

    `may_confirm`: whether the person may say of a copy that it is the installation.
    """

    lines: list[Line]
    explanations: list[EngineExplanation]
    sentence: str = ""
    may_confirm: bool = False


def panel(person: User | AnonymousUser) -> Panel | None:
    """None for whoever has nothing to do with pushes, and for those of single companies while all is well."""
    if not person.has_perm("notifications.view_delivery"):
        return None
    state = health.read()
    if sees_all(person):
        may_confirm = state.is_copy and person.is_superuser
        return Panel(list(_lines(state)), explanations.explain(state), may_confirm=may_confirm)
    if not state.problems:
        return None
    if state.is_copy:
        return Panel([], [], _("This is a copy of the installation: nothing is sent from here."))
    return Panel([], [], _("Pushes stand still: a background process is not running. Tell a system administrator."))


def _lines(state: EngineHealth) -> Iterator[Line]:
    yield Line(_("Beat (the clock)"), *_served(state.beat))
    for queue in state.queues:
        yield Line(_("Queue %(queue)s") % {"queue": queue.name}, *_served(queue))
    if state.mail_door.process_count or state.mail_door.is_failing:
        yield Line(_("Mail door"), *_served(state.mail_door))
    age = _("never") if state.tick_seconds is None else _ago(state.tick_seconds)
    yield Line(_("Last tick"), age, "bad" if state.is_tick_old else "good")
    count = state.overdue_count
    yield Line(_("Overdue times"), _overdue(state) if count else "0", "bad" if count else "good")
    made_at = Installation.objects.values_list("backed_up_at", flat=True).first()
    yield Line(_("Last backup"), _ago((database_clock()() - made_at).total_seconds()) if made_at else _("never"))
    yield Line(_("Version"), settings.VERSION)


def _served(served: Served) -> tuple[str, str]:
    if served.process_count:
        text = ngettext("%(count)d running", "%(count)d running", served.process_count)
        return text % {"count": served.process_count}, "good"
    if served.is_failing:
        return _("not running"), "bad"
    if served.name == MakerQueue.SNAPSHOTS:
        return _("not served: start the worker of snapshots for pictures of the BI's pages"), "quiet"
    return _("not served: start the worker of charts for pictures and files"), "quiet"


def _ago(seconds: float) -> str:
    return _("%(time)s ago") % {"time": explanations.format_duration(seconds)}


def _overdue(state: EngineHealth) -> str:
    words = {"count": state.overdue_count, "time": explanations.format_duration(state.overdue_seconds)}
    return _("%(count)d, the oldest for %(time)s") % words
