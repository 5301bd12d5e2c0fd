"""Texts about a policy run, in the active language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from accounts.models import LinkConflict, PeopleRun
from accounts.users.scopes import sees_all
from integrations.models import SyncChange, SyncRun

if TYPE_CHECKING:
    from integrations.models.scoping import Person

Reason = LinkConflict.Reason
# What tells of nobody but the company's own members.
_OF_MEMBERS = frozenset({Reason.SHARED, Reason.CAME_BACK})
# What, said of a person whom one sees, tells of nobody else.
_OF_THE_PERSON = frozenset({Reason.PROTECTED, Reason.PASSWORD_ONLY, Reason.DISABLED, Reason.OTHER_ACCOUNT})


def reasons_shown_to(person: Person) -> list[LinkConflict.Reason]:
    """By which reasons `person` may tell members apart."""
    return [one for one in Reason if sees_all(person) or one in _OF_MEMBERS]


def reason_for(person: Person, reason: str) -> str:
    """Why a member is linked with nobody.

    Whoever does not see all companies reads the same sentence whether nobody fits or somebody whom they may not see:
    that somebody of another company, or of the administration, has a userid or an e-mail address is not for them.
    """
    return _said(person, Reason(reason), _OF_MEMBERS)


def objection_for(person: Person, reason: str) -> str:
    """What is against linking a member with somebody whom `person` sees."""
    return _said(person, Reason(reason), _OF_MEMBERS | _OF_THE_PERSON)


def _said(person: Person, reason: LinkConflict.Reason, harmless: frozenset[LinkConflict.Reason]) -> str:
    if sees_all(person) or reason in harmless:
        return str(reason.label)
    return _("the directory has not linked them; administrators of all companies see why")


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
