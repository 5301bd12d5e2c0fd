"""Which rows an administrator sees: those of visible companies, and rows without one for those who see all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

from accounts.models.users import User
from accounts.users.scopes import sees_all
from integrations.models import Corp

if TYPE_CHECKING:
    from integrations.models.scoping import Person


def sees_all_corps(person: Person) -> bool:
    """Whether `person` also sees what belongs to no single corp: those who manage all of them."""
    return isinstance(person, User) and person.is_staff and sees_all(person)


def scope_condition(person: Person) -> Q:
    """The condition on a model with a nullable `corp` (empty: for people of every company)."""
    visible = Q(corp__in=Corp.objects.visible_to(person))
    return visible | Q(corp__isnull=True) if sees_all_corps(person) else visible
