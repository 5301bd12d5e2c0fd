"""Whom somebody asks for what they may not do themselves: the roles that may, and people by their names."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from accounts.models.users import User
from accounts.users.roles import Role, permissions_of
from accounts.users.scopes import people_visible_to, sees_all
from integrations.models import Corp

if TYPE_CHECKING:
    from integrations.models.fields import Person

NAMED_AT_MOST = 3
# What is nobody else's.
_OF_SUPERUSERS = frozenset({"auth.add_group"})
# From the one that may do least.
_ROLES = {
    Role.PUSH_EDITOR: gettext_lazy("a push editor"),
    Role.INTEGRATION_ADMINISTRATOR: gettext_lazy("an integration administrator"),
    Role.SYSTEM_ADMINISTRATOR: gettext_lazy("a system administrator"),
}


def whom_to_ask(person: Person, permission: str, corp_ids: Collection[int] | None = None) -> str:
    """One sentence for `person`; empty for what no role may do. `permission`: as app_label.codename. `corp_ids`: of the
    companies for which it is needed; empty: of all there are, as for the site address; None: of any that `person` sees.

    Only people whom `person` sees in the administration are named.
    """
    names = [str(name) for role, name in _ROLES.items() if permission in permissions_of(role)]
    if permission in _OF_SUPERUSERS:
        names = [_("a superuser")]
    if not names:
        return ""
    roles = names[-1]
    if names[:-1]:
        roles = _("%(roles)s or %(role)s") % {"roles": pgettext("between roles", ", ").join(names[:-1]), "role": roles}
    people = _named(person, permission, corp_ids)
    facts = {"roles": roles, "people": people}
    if corp_ids is not None and not corp_ids and not sees_all(person):
        if people:
            return _("Ask %(roles)s who manages all companies: %(people)s.") % facts
        return _("Ask %(roles)s who manages all companies.") % facts
    return _("Ask %(roles)s: %(people)s.") % facts if people else _("Ask %(roles)s.") % facts


def _named(person: Person, permission: str, corp_ids: Collection[int] | None) -> str:
    """The first of those who may, with commas; empty where `person` sees none of them."""
    if not isinstance(person, User) or not person.has_perm("accounts.view_user"):
        return ""
    corps = Corp.objects.visible_to(person)
    theirs = corps if corp_ids is None else corps.filter(pk__in=corp_ids)
    managed = User.managed_corps.through.objects.filter(corp__in=theirs).values("user_id")
    able = holders_of(permission).filter(Q(is_superuser=True) | Q(manages_all_corps=True) | Q(pk__in=managed))
    seen = able.filter(pk__in=people_visible_to(person).values("pk")).exclude(pk=person.pk)
    found = list(seen.order_by("is_superuser", "name", "pk")[: NAMED_AT_MOST + 1])
    names = pgettext("between people", ", ").join(one.name or one.username for one in found[:NAMED_AT_MOST])
    return _("%(people)s and others") % {"people": names} if len(found) > NAMED_AT_MOST else names


def holders_of(permission: str) -> QuerySet[User]:
    """Who may enter the administration and has the permission, by a group or directly."""
    app, _dot, codename = permission.partition(".")
    granted = Permission.objects.filter(content_type__app_label=app, codename=codename)
    groups = Group.objects.filter(permissions__in=granted)
    by_group = User.groups.through.objects.filter(group__in=groups).values("user_id")
    directly = User.user_permissions.through.objects.filter(permission__in=granted).values("user_id")
    held = Q(is_superuser=True) | Q(pk__in=by_group) | Q(pk__in=directly)
    return User.objects.filter(held, is_active=True, is_staff=True)
