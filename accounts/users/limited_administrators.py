"""Administrators of single companies who may create or rename people.

A name that they may choose must not be an identity elsewhere: they would enter the BI as somebody else. So the two
exclude each other, whichever comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.users.bi_identity_sources import EMAIL, USERNAME, is_identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NAMING = ("add_user", "change_user")
# Named in a sentence.
_NAMED = 3


def naming_permissions() -> QuerySet[Permission]:
    """Creating people, and changing their user names and e-mail addresses."""
    return Permission.objects.filter(content_type__app_label="accounts", codename__in=_NAMING)


def limited() -> QuerySet[User]:
    """Whoever enters the administration and does not see all companies there."""
    return User.objects.filter(is_active=True, is_staff=True, is_superuser=False, manages_all_corps=False)


def who_name_people() -> QuerySet[User]:
    """Those of them who may create or rename people."""
    naming = naming_permissions().values("pk")
    groups = Group.objects.filter(permissions__in=naming)
    return limited().filter(Q(groups__in=groups) | Q(user_permissions__in=naming)).distinct()


def objection_to_names() -> str:
    """Why people cannot enter the BI by a name that such administrators choose; empty where there are none."""
    found = list(who_name_people().order_by("username")[: _NAMED + 1])
    if not found:
        return ""
    sentence = _(
        "People must not enter the BI by a name that administrators of single companies choose, and such may create or "
        "rename people: %(people)s. Choose the loginId attribute, which only administrators of all companies set, or "
        "take this right from them first."
    )
    return sentence % {"people": _listed(found)}


def _listed(people: Sequence[User]) -> str:
    names = ", ".join(map(str, people[:_NAMED]))
    return names if len(people) <= _NAMED else f"{names} …"


# --- Making one -------------------------------------------------------------------------------------------------------


def objection_to_rights(person: User, values: dict[str, Any]) -> str:
    """Why `person` cannot get the rights that a form holds (`values`: those that it changes); empty where nothing is
    against it. Somebody who has them already keeps them. In the transaction that saves them."""
    if not _is_limited(person, values) or not _names_people(person, values):
        return ""
    if person.pk is not None and who_name_people().filter(pk=person.pk).exists():
        return ""
    return _refusal() if is_identity(USERNAME, EMAIL) else ""


def objection_to_permissions(group: Group, permissions: Iterable[Permission]) -> str:
    """The same for the permissions of a group, which lend rights to all who are in it."""
    chosen = [permission.pk for permission in permissions]
    if group.pk is None or not naming_permissions().filter(pk__in=chosen).exists():
        return ""
    made = limited().filter(groups=group).exclude(pk__in=who_name_people().values("pk"))
    return _refusal() if made.exists() and is_identity(USERNAME, EMAIL) else ""


def _is_limited(person: User, values: dict[str, Any]) -> bool:
    active, staff, superuser, manages_all = (
        values.get(name, getattr(person, name))
        for name in ("is_active", "is_staff", "is_superuser", "manages_all_corps")
    )
    return bool(active and staff and not superuser and not manages_all)


def _names_people(person: User, values: dict[str, Any]) -> bool:
    saved = person.pk is not None
    groups = values.get("groups", person.groups.all() if saved else [])
    permissions = values.get("user_permissions", person.user_permissions.all() if saved else [])
    by_group = Q(group__in=[group.pk for group in groups])
    return naming_permissions().filter(by_group | Q(pk__in=[one.pk for one in permissions])).exists()


def _refusal() -> str:
    return _(
        "People enter the BI by their user name or e-mail, so nobody who is limited to single companies may create or "
        "rename people: they could enter it as somebody else. First choose the loginId attribute, under Guandata BI, "
        "or leave this right out."
    )
