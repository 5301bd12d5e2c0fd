"""What an administrator may see and change of companies and people.

Superusers and those who manage all companies see everything. Others see the companies that they are named for and
the people with an account there. Nobody but a superuser changes somebody who may enter the administration, or
somebody who also belongs to a company that is not theirs: linking such a person with a userid of one's own, or
setting their password, would lend their rights.
"""

from __future__ import annotations

from django.db.models import Q, QuerySet

from accounts.models import User, WeComAccount
from integrations.models import Corp
from integrations.visibility import NOTHING, Person


def corps_of(person: Person) -> Q:
    """The condition on Corp, for integrations.visibility."""
    if not isinstance(person, User) or not (person.is_active and person.is_staff):
        return NOTHING
    return Q() if sees_all(person) else Q(pk__in=person.managed_corps.values("pk"))


def sees_all(person: Person) -> bool:
    if not isinstance(person, User) or not person.is_active:
        return False
    return person.is_superuser or (person.is_staff and person.manages_all_corps)


def people_visible_to(person: Person) -> QuerySet[User]:
    """People without any account of a company can be seen by those only who see all companies."""
    if sees_all(person):
        return User.objects.all()
    theirs = WeComAccount.objects.filter(corp__in=Corp.objects.visible_to(person))
    return User.objects.filter(pk__in=theirs.values("user_id"))


def people_changeable_by(person: Person) -> QuerySet[User]:
    """Those of the visible people whom `person` may change, link and give a password."""
    people = people_visible_to(person)
    if isinstance(person, User) and person.is_active and person.is_superuser:
        return people
    people = people.filter(is_staff=False, is_superuser=False)
    if sees_all(person):
        return people
    elsewhere = WeComAccount.objects.filter(corp__isnull=False).exclude(corp__in=Corp.objects.visible_to(person))
    return people.exclude(pk__in=elsewhere.values("user_id"))
