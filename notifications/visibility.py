"""Which rows an administrator sees: those of the corps that he may see, and what has no corp if he sees them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

from integrations.models import Corp

if TYPE_CHECKING:
    from integrations.visibility import Person


def sees_all_corps(person: Person) -> bool:
    """True for superusers and for those who manage all companies; they alone see what belongs to no single corp."""
    if not person.is_authenticated or not person.is_active:
        return False
    return bool(getattr(person, "is_superuser", False) or getattr(person, "manages_all_corps", False))


def scope_condition(person: Person) -> Q:
    """The condition on a model with a nullable `corp` (empty: for people of every company)."""
    visible = Q(corp__in=Corp.objects.visible_to(person))
    return visible | Q(corp__isnull=True) if sees_all_corps(person) else visible
