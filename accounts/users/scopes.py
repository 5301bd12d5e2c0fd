"""What an administrator may see and change of companies and people.

Superusers and those who manage all companies see everything. Others see the companies that they are named for and
the people with an account there. Nobody but a superuser changes somebody with more rights, or somebody who also belongs
to a company that is not theirs: linking such a person with a userid of one's own, or setting their password, would
lend their rights. Somebody who may enter the administration at all is changed by those only who may hand out roles.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models.audit import AuditEntry
from accounts.models.security import Lockout
from accounts.models.users import User, WeComAccount
from accounts.users import roles
from integrations.models import Corp
from integrations.models.fields import EVERYTHING, NOTHING, Person


def corps_of(person: Person) -> Q:
    """The condition on Corp, for integrations.models.fields."""
    if not isinstance(person, User) or not (person.is_active and person.is_staff):
        return NOTHING
    return Q() if sees_all(person) else Q(pk__in=person.managed_corps.values("pk"))


def sees_all(person: Person) -> bool:
    """Whether the person administers every company: superusers, and staff who manage all."""
    if not isinstance(person, User) or not person.is_active:
        return False
    return person.is_superuser or (person.is_staff and person.manages_all_corps)


def sees_all_corps(person: Person) -> bool:
    """Whether `person` also sees, in the administration, what belongs to no single corp."""
    return isinstance(person, User) and person.is_staff and sees_all(person)


def scope_condition(person: Person) -> Q:
    """The condition on a model with a nullable `corp` (empty: for people of every company)."""
    return EVERYTHING if sees_all_corps(person) else Q(corp__in=Corp.objects.visible_to(person))


def people_visible_to(person: Person) -> QuerySet[User]:
    """People without any account of a company can be seen by those only who see all companies."""
    if sees_all(person):
        return User.objects.all()
    theirs = WeComAccount.objects.filter(corp__in=Corp.objects.visible_to(person))
    return User.objects.filter(pk__in=theirs.values("user_id"))


def people_changeable_by(person: Person) -> QuerySet[User]:
    """Those of the visible people whom `person` may change, link and give a password."""
    people = people_visible_to(person)
    if not isinstance(person, User) or (person.is_active and person.is_superuser):
        return people
    harmless = Q(is_staff=False)
    if roles.may_hand_out(person):
        harmless |= no_stronger_than(person)
    people = people.filter(harmless, is_superuser=False)
    if sees_all(person):
        return people
    elsewhere = WeComAccount.objects.filter(corp__isnull=False).exclude(corp__in=Corp.objects.visible_to(person))
    # Asked for each person, so that for one person the database does not read the accounts of all.
    return people.filter(~Exists(elsewhere.filter(user=OuterRef("pk"))))


def rights_changeable_by(person: Person) -> QuerySet[User]:
    """Those whose rights `person` may change: nobody who has more, were it only for want of the entry to the admin."""
    people = people_changeable_by(person)
    if not isinstance(person, User) or not roles.may_hand_out(person):
        return people.none()
    return people if person.is_superuser else people.filter(no_stronger_than(person))


def audit_entries_visible_to(person: Person) -> QuerySet[AuditEntry]:
    """Entries about the companies that `person` sees; about none or several, for those who see all."""
    entries = AuditEntry.objects.all()
    return entries if sees_all(person) else entries.filter(corp__in=Corp.objects.keys_visible_to(person))


def lockouts_visible_to(person: Person) -> QuerySet[Lockout]:
    """Of an administrator of some companies: those of people whom that administrator may change."""
    if sees_all(person):
        return Lockout.objects.all()
    return Lockout.objects.filter(username__in=people_changeable_by(person).values("username"))


def no_stronger_than(person: User) -> Q:
    """The condition on User for those whose rights and companies `person` has, too. Nobody is stronger than a
    superuser."""
    if person.is_superuser:
        return EVERYTHING
    stronger = User.groups.through.objects.filter(group__in=roles.stronger_groups(person))
    direct = User.user_permissions.through.objects.filter(permission__in=roles.missing_permissions(person))
    weaker = ~Q(pk__in=stronger.values("user_id")) & ~Q(pk__in=direct.values("user_id")) & Q(is_superuser=False)
    if sees_all(person):
        return weaker
    managed = User.managed_corps.through.objects.exclude(corp__in=Corp.objects.visible_to(person))
    return weaker & Q(manages_all_corps=False) & ~Q(pk__in=managed.values("user_id"))
