"""What a person reads of the second half of a run, in the active language."""

from __future__ import annotations

from django.utils.translation import gettext as _

from accounts.models import PeopleRun
from integrations.models import SyncChange, SyncRun


def copied(run: SyncRun) -> list[tuple[str, int]]:
    """What the first half has written: word and number of each kind that occurred."""
    words = {kind.value: str(kind.label) for kind in SyncChange.Kind} | {"departments": _("departments changed")}
    return [(words[name], run.counts[name]) for name in words if run.counts.get(name)]


def applied(people_run: PeopleRun) -> list[tuple[str, int]]:
    """What the second half has written."""
    words = {
        "linked": _("people linked"),
        "created": _("people created"),
        "updated": _("people updated"),
        "respelled": _("WeCom accounts spelt anew"),
        "unlinked": _("people unlinked"),
        "disabled": _("people disabled"),
        "grouped": _("put into groups by department"),
        "ungrouped": _("taken out of groups again"),
    }
    return [(words[name], people_run.counts[name]) for name in words if people_run.counts.get(name)]
