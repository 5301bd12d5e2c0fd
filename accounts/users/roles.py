"""The four roles and their permissions, what an administrator may see and change, and whom to ask for more rights.

Superusers and administrators of all companies see everything. Others see the companies that they manage and the people
with an account there. Only superusers change people with more rights, or people who also belong to a company that the
administrator does not see: otherwise an administrator could set such a person's password, or link the person with a
userid of their own, and use the person's rights. Only administrators who may hand out roles change people who may enter
the administration.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django import forms
from django.apps import apps as installed_apps
from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Exists, OuterRef, Q, QuerySet, TextChoices
from django.utils.translation import gettext, gettext_lazy, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User, WeComAccount
from integrations.models import Corp
from integrations.models.fields import EVERYTHING, NOTHING, Person

_VERBS = {
    "add": pgettext_lazy("permission", "add"),
    "change": pgettext_lazy("permission", "change"),
    "delete": pgettext_lazy("permission", "delete"),
    "view": pgettext_lazy("permission", "view"),
}


# Apps whose permissions open a page.
_APPS = ("accounts", "auth", "integrations", "notifications")


def find_choosable_permissions() -> QuerySet[Permission]:
    """Return the permissions that can be given to a role or a person."""
    return Permission.objects.filter(content_type__app_label__in=_APPS)


def name_permission(permission: Permission) -> str:
    """Name what a permission allows, such as “change”. Reads the permission's content type."""
    verb, _underscore, model = permission.codename.partition("_")
    is_usual = verb in _VERBS and model == permission.content_type.model
    return str(_VERBS[verb]) if is_usual else gettext(permission.name)


class PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Choice of several permissions."""

    def label_from_instance(self, obj: Permission) -> str:
        """Return a label such as “People | person · change”."""
        return f"{obj.content_type} · {name_permission(obj)}"


# --- The four roles: groups whose permissions are defined here, so that they are the same in every installation ---

ASSIGN_ROLES = "accounts.assign_roles"


class Role(TextChoices):
    """The four roles. Values are the stored names of the groups, labels the names that people read."""

    SYSTEM_ADMINISTRATOR = "role:system-administrator", _("System administrator")
    INTEGRATION_ADMINISTRATOR = "role:integration-administrator", _("Integration administrator")
    PUSH_EDITOR = "role:push-editor", _("Push editor")
    READ_ONLY = "role:read-only", _("Read-only")


def _list_model_rights(*models: str) -> set[str]:
    return {
        f"{app}.{verb}_{model}"
        for app, model in (name.split(".") for name in models)
        for verb in ("view", "add", "change", "delete")
    }


_DIRECTORY_VIEW_PERMISSIONS = (
    *("integrations.view_department", "integrations.view_member", "integrations.view_syncrun"),
    *("accounts.view_directorypolicy", "accounts.view_departmentgroup", "accounts.view_linkconflict"),
)

_granted: dict[Role, set[str]] = {
    Role.SYSTEM_ADMINISTRATOR: {
        *_list_model_rights("accounts.user", "accounts.wecomaccount", "integrations.corp", "integrations.siteaddress"),
        *_list_model_rights("accounts.attribute", "accounts.departmentgroup"),
        *("accounts.view_peopleimport", "accounts.add_peopleimport"),
        *(ASSIGN_ROLES, "accounts.view_auditentry", "accounts.view_lockout", "accounts.delete_lockout"),
        *("accounts.view_signinpolicy", "accounts.change_signinpolicy", "auth.view_group"),
        *("integrations.view_biconnection", "integrations.change_biconnection"),
        *_list_model_rights("integrations.datasource", "integrations.card"),
        *_DIRECTORY_VIEW_PERMISSIONS,
        *("integrations.sync_directory", "accounts.add_directorypolicy", "accounts.change_directorypolicy"),
    },
    Role.INTEGRATION_ADMINISTRATOR: {
        *_list_model_rights(
            "integrations.corp", "integrations.siteaddress", "integrations.datasource", "integrations.card"
        ),
        *("accounts.view_user", "accounts.view_wecomaccount", "accounts.view_attribute"),
        *(*_DIRECTORY_VIEW_PERMISSIONS, "integrations.sync_directory", "integrations.view_biconnection"),
    },
    # Push editors may only choose groups as recipients: accounts.admin.groups does not show them the pages of groups.
    Role.PUSH_EDITOR: {
        *("accounts.view_user", "accounts.view_wecomaccount", "accounts.view_attribute", "auth.view_group"),
        *("integrations.view_department", "integrations.view_datasource", *_list_model_rights("integrations.card")),
    },
    Role.READ_ONLY: {
        *("accounts.view_user", "accounts.view_wecomaccount", "accounts.view_attribute", "accounts.view_auditentry"),
        *("integrations.view_corp", "integrations.view_siteaddress", "integrations.view_biconnection"),
        *(*_DIRECTORY_VIEW_PERMISSIONS, "integrations.view_datasource", "integrations.view_card"),
    },
}


def grant_permissions(role: Role, *permissions: str) -> None:
    """Add permissions to a role, and to the system administrator. Higher apps call it in AppConfig.ready()."""
    _granted[role].update(permissions)
    _granted[Role.SYSTEM_ADMINISTRATOR].update(permissions)


def find_role_permissions(role: Role) -> frozenset[str]:
    """Return the role's permissions as `app_label.codename`."""
    return frozenset(_granted[role])


def ensure_roles(*, apps: Any = installed_apps, using: str = DEFAULT_DB_ALIAS, **_signal: Any) -> None:
    """Receive post_migrate of the last app, when all permissions exist: create the roles' groups and set their
    permissions."""
    try:
        names = ("Group", "Permission")
        groups, permissions = (apps.get_model("auth", name)._base_manager.using(using) for name in names)
    except LookupError:  # migrated back to a state without the models
        return
    for role in Role:
        group = groups.get_or_create(name=role.value)[0]
        condition = Q(pk__in=[])
        for name in find_role_permissions(role):
            app, _dot, codename = name.partition(".")
            condition |= Q(content_type__app_label=app, codename=codename)
        wanted = set(permissions.filter(condition).values_list("pk", flat=True))
        present = set(group.permissions.values_list("pk", flat=True))
        if wanted != present:
            group.permissions.set(wanted)


def find_role_groups() -> QuerySet[Group]:
    """Return the groups of the four roles."""
    return Group.objects.filter(name__in=list(Role))


def label_group(group_name: str) -> str:
    """Return a role's label, or any other group's own name."""
    return str(Role(group_name).label) if group_name in set(Role) else group_name


def may_assign_roles(person: Person) -> bool:
    """Return whether the person may give roles to others; find_assignable_roles returns which."""
    return isinstance(person, User) and person.is_active and person.has_perm(ASSIGN_ROLES)


def find_assignable_roles(person: Person) -> QuerySet[Group]:
    """Return the roles that hold no permission which `person` lacks."""
    if not isinstance(person, User) or not may_assign_roles(person):
        return Group.objects.none()
    return find_role_groups().exclude(pk__in=find_stronger_groups(person).values("pk")).order_by("pk")


def find_stronger_groups(person: User) -> QuerySet[Group]:
    """Return the groups with a permission that `person` lacks."""
    return Group.objects.filter(permissions__in=find_missing_permissions(person))


def find_missing_permissions(person: User) -> QuerySet[Permission]:
    """Return the permissions that `person` holds neither directly nor by a group."""
    if person.is_superuser:
        return Permission.objects.none()
    own = Permission.objects.filter(Q(group__user=person) | Q(user=person))
    return Permission.objects.exclude(pk__in=own.order_by().values("pk"))


def make_corp_condition(person: Person) -> Q:
    """Return the condition on Corp for the companies that `person` sees (see integrations.models.fields)."""
    if not isinstance(person, User) or not (person.is_active and person.is_staff):
        return NOTHING
    return Q() if sees_all(person) else Q(pk__in=person.managed_corps.values("pk"))


def sees_all(person: Person) -> bool:
    """Return whether the person administers every company: a superuser, or staff with `manages_all_corps`."""
    if not isinstance(person, User) or not person.is_active:
        return False
    return person.is_superuser or (person.is_staff and person.manages_all_corps)


def sees_rows_without_corp(person: Person) -> bool:
    """Return whether `person` may enter the administration and sees rows there that belong to no single company."""
    return isinstance(person, User) and person.is_staff and sees_all(person)


def make_scope_condition(person: Person) -> Q:
    """Return the condition for the rows that `person` sees, for a model whose rows without `corp` concern all
    companies."""
    return EVERYTHING if sees_rows_without_corp(person) else Q(corp__in=Corp.objects.visible_to(person))


def find_visible_people(person: Person) -> QuerySet[User]:
    """Return the people whom `person` sees. People without a company are visible only to administrators of all
    companies."""
    if sees_all(person):
        return User.objects.all()
    accounts = WeComAccount.objects.filter(corp__in=Corp.objects.visible_to(person))
    return User.objects.filter(pk__in=accounts.values("user_id"))


def find_changeable_people(person: Person) -> QuerySet[User]:
    """Return the visible people whom `person` may change, link and give a password."""
    is_changeable = Q(is_staff=False)
    if isinstance(person, User) and may_assign_roles(person):
        is_changeable |= make_no_more_rights_condition(person)
    return _filter_changeable(person, is_changeable)


def find_people_with_changeable_rights(person: Person) -> QuerySet[User]:
    """Return the people whose rights `person` may change: nobody with a right that `person` lacks."""
    if not isinstance(person, User) or not may_assign_roles(person):
        return User.objects.none()
    return _filter_changeable(person, make_no_more_rights_condition(person))


def _filter_changeable(person: Person, is_changeable: Q) -> QuerySet[User]:
    """Return those of the visible people whom `person` may change: for superusers all; for others the people who meet
    the condition, are no superusers, and have no account in a company that `person` does not see."""
    people = find_visible_people(person)
    if not isinstance(person, User) or (person.is_active and person.is_superuser):
        return people
    people = people.filter(is_changeable, is_superuser=False)
    if sees_all(person):
        return people
    elsewhere = WeComAccount.objects.filter(corp__isnull=False).exclude(corp__in=Corp.objects.visible_to(person))
    # Use EXISTS for each person: a query for one person must not read all accounts.
    return people.filter(~Exists(elsewhere.filter(user=OuterRef("pk"))))


def make_no_more_rights_condition(person: User) -> Q:
    """Return the condition on User for people with no rights or companies that `person` lacks."""
    if person.is_superuser:
        return EVERYTHING
    stronger = User.groups.through.objects.filter(group__in=find_stronger_groups(person))
    direct = User.user_permissions.through.objects.filter(permission__in=find_missing_permissions(person))
    weaker = ~Q(pk__in=stronger.values("user_id")) & ~Q(pk__in=direct.values("user_id")) & Q(is_superuser=False)
    if sees_all(person):
        return weaker
    managed = User.managed_corps.through.objects.exclude(corp__in=Corp.objects.visible_to(person))
    return weaker & Q(manages_all_corps=False) & ~Q(pk__in=managed.values("user_id"))


NAMED_AT_MOST = 3
# Roles as a sentence names them, the weakest first.
_ROLES = {
    Role.PUSH_EDITOR: gettext_lazy("a push editor"),
    Role.INTEGRATION_ADMINISTRATOR: gettext_lazy("an integration administrator"),
    Role.SYSTEM_ADMINISTRATOR: gettext_lazy("a system administrator"),
}


def describe_contacts(person: Person, permission: str, corp_ids: Collection[int] | None = None) -> str:
    """Return a sentence on whom `person` can ask for what needs `permission` (app_label.codename); empty if no role has
    it.

    `corp_ids`: companies of which the contact must manage one; None: any that `person` sees; empty: the contact must
    manage all companies. Only people whom `person` sees in the administration are named.
    """
    names = [str(name) for role, name in _ROLES.items() if permission in find_role_permissions(role)]
    if permission == "auth.add_group":
        names = [gettext("a superuser")]
    if not names:
        return ""
    *others, roles = names
    if others:
        facts = {"roles": pgettext("between roles", ", ").join(others), "role": roles}
        roles = gettext("%(roles)s or %(role)s") % facts
    people = ""
    if isinstance(person, User) and person.has_perm("accounts.view_user"):
        corps = Corp.objects.visible_to(person)
        concerned = corps if corp_ids is None else corps.filter(pk__in=corp_ids)
        managed = User.managed_corps.through.objects.filter(corp__in=concerned).values("user_id")
        holders = find_permission_holders(permission).filter(
            Q(is_superuser=True) | Q(manages_all_corps=True) | Q(pk__in=managed)
        )
        visible = holders.filter(pk__in=find_visible_people(person).values("pk")).exclude(pk=person.pk)
        contacts = list(visible.order_by("is_superuser", "name", "pk")[: NAMED_AT_MOST + 1])
        people = pgettext("between people", ", ").join(one.name or one.username for one in contacts[:NAMED_AT_MOST])
        if len(contacts) > NAMED_AT_MOST:
            people = gettext("%(people)s and others") % {"people": people}
    if corp_ids is not None and not corp_ids and not sees_all(person):
        named = gettext("Ask %(roles)s who manages all companies: %(people)s.")
        unnamed = gettext("Ask %(roles)s who manages all companies.")
    else:
        named, unnamed = gettext("Ask %(roles)s: %(people)s."), gettext("Ask %(roles)s.")
    return (named if people else unnamed) % {"roles": roles, "people": people}


def find_permission_holders(permission: str) -> QuerySet[User]:
    """Return the people who may enter the administration and have the permission, by a group or directly."""
    app, _dot, codename = permission.partition(".")
    granted = Permission.objects.filter(content_type__app_label=app, codename=codename)
    groups = Group.objects.filter(permissions__in=granted)
    by_group = User.groups.through.objects.filter(group__in=groups).values("user_id")
    directly = User.user_permissions.through.objects.filter(permission__in=granted).values("user_id")
    has_permission = Q(is_superuser=True) | Q(pk__in=by_group) | Q(pk__in=directly)
    return User.objects.filter(has_permission, is_active=True, is_staff=True)
