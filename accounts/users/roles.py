"""The four roles and their permissions, and the names of permissions in the reader's language."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django import forms
from django.apps import apps as installed_apps
from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q, QuerySet
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    from integrations.models.fields import Person


if TYPE_CHECKING:
    PermissionsFieldBase = forms.ModelMultipleChoiceField[Permission]
else:
    PermissionsFieldBase = forms.ModelMultipleChoiceField

_VERBS = {
    "add": pgettext_lazy("permission", "add"),
    "change": pgettext_lazy("permission", "change"),
    "delete": pgettext_lazy("permission", "delete"),
    "view": pgettext_lazy("permission", "view"),
}


# Those of other apps open no page.
_APPS = ("accounts", "auth", "integrations", "notifications")


def choosable() -> QuerySet[Permission]:
    """Permissions that can be given to a role or a person."""
    return Permission.objects.filter(content_type__app_label__in=_APPS)


def name_of(permission: Permission) -> str:
    """“People | user · change”. `permission`: with its content type, which is looked up otherwise."""
    return f"{permission.content_type} · {right_of(permission)}"


def right_of(permission: Permission) -> str:
    """What may be done: “change”. `permission`: with its content type, which is looked up otherwise."""
    verb, _underscore, model = permission.codename.partition("_")
    is_usual = verb in _VERBS and model == permission.content_type.model
    return str(_VERBS[verb]) if is_usual else gettext(permission.name)


class PermissionsField(PermissionsFieldBase):
    """Several permissions to choose."""

    def label_from_instance(self, obj: Permission) -> str:
        return name_of(obj)


# --- The four roles: groups whose permissions the code defines, so that they mean the same in every installation ---

HAND_OUT_ROLES = "accounts.assign_roles"


class Role(StrEnum):
    """The names under which the groups are stored; people read the label."""

    SYSTEM_ADMINISTRATOR = "role:system-administrator"
    INTEGRATION_ADMINISTRATOR = "role:integration-administrator"
    PUSH_EDITOR = "role:push-editor"
    READ_ONLY = "role:read-only"

    @property
    def label(self) -> _StrPromise:
        return _LABELS[self]


_LABELS = {
    Role.SYSTEM_ADMINISTRATOR: _("System administrator"),
    Role.INTEGRATION_ADMINISTRATOR: _("Integration administrator"),
    Role.PUSH_EDITOR: _("Push editor"),
    Role.READ_ONLY: _("Read-only"),
}


def _all_of(*models: str) -> set[str]:
    return {
        f"{app}.{verb}_{model}"
        for app, model in (name.split(".") for name in models)
        for verb in ("view", "add", "change", "delete")
    }


_DIRECTORY_READERS = (
    *("integrations.view_department", "integrations.view_member", "integrations.view_syncrun"),
    *("accounts.view_directorypolicy", "accounts.view_departmentgroup", "accounts.view_linkconflict"),
)

_granted: dict[Role, set[str]] = {
    Role.SYSTEM_ADMINISTRATOR: {
        *_all_of("accounts.user", "accounts.wecomaccount", "integrations.corp", "integrations.siteaddress"),
        *_all_of("accounts.attribute", "accounts.departmentgroup"),
        *("accounts.view_peopleimport", "accounts.add_peopleimport"),
        *(HAND_OUT_ROLES, "accounts.view_auditentry", "accounts.view_lockout", "accounts.delete_lockout"),
        *("accounts.view_signinpolicy", "accounts.change_signinpolicy", "auth.view_group"),
        *("integrations.view_biconnection", "integrations.change_biconnection"),
        *_all_of("integrations.datasource", "integrations.card"),
        *_DIRECTORY_READERS,
        *("integrations.sync_directory", "accounts.add_directorypolicy", "accounts.change_directorypolicy"),
    },
    Role.INTEGRATION_ADMINISTRATOR: {
        *_all_of("integrations.corp", "integrations.siteaddress", "integrations.datasource", "integrations.card"),
        *("accounts.view_user", "accounts.view_wecomaccount", "accounts.view_attribute"),
        *(*_DIRECTORY_READERS, "integrations.sync_directory", "integrations.view_biconnection"),
    },
    # Groups are looked up by name only, as recipients: accounts.admin.groups keeps their pages shut.
    Role.PUSH_EDITOR: {
        *("accounts.view_user", "accounts.view_wecomaccount", "accounts.view_attribute", "auth.view_group"),
        *("integrations.view_department", "integrations.view_datasource", *_all_of("integrations.card")),
    },
    Role.READ_ONLY: {
        *("accounts.view_user", "accounts.view_wecomaccount", "accounts.view_attribute", "accounts.view_auditentry"),
        *("integrations.view_corp", "integrations.view_siteaddress", "integrations.view_biconnection"),
        *(*_DIRECTORY_READERS, "integrations.view_datasource", "integrations.view_card"),
    },
}


def grant(role: Role, *permissions: str) -> None:
    """Called by higher apps in AppConfig.ready(). The system administrator holds all that another role holds."""
    _granted[role].update(permissions)
    _granted[Role.SYSTEM_ADMINISTRATOR].update(permissions)


def permissions_of(role: Role) -> frozenset[str]:
    """As `app_label.codename`."""
    return frozenset(_granted[role])


def ensure_roles(*, apps: Any = installed_apps, using: str = DEFAULT_DB_ALIAS, **_signal: Any) -> None:
    """Create the groups and fit their permissions. After every migrate: only then do all permissions exist."""
    try:
        groups, permissions = (apps.get_model("auth", name)._base_manager.using(using) for name in _MODELS)
    except LookupError:  # migrated back to before there were groups
        return
    for role in Role:
        group = groups.get_or_create(name=role.value)[0]
        wanted = set(permissions.filter(_named(permissions_of(role))).values_list("pk", flat=True))
        held = set(group.permissions.values_list("pk", flat=True))
        if wanted != held:
            group.permissions.set(wanted)


_MODELS = ("Group", "Permission")


def _named(names: frozenset[str]) -> Q:
    condition = Q(pk__in=[])
    for app in {name.split(".")[0] for name in names}:
        codenames = [name.split(".")[1] for name in names if name.startswith(f"{app}.")]
        condition |= Q(content_type__app_label=app, codename__in=codenames)
    return condition


def role_groups() -> QuerySet[Group]:
    """The groups that stand for roles."""
    return Group.objects.filter(name__in=list(Role))


def label_of(group_name: str) -> str:
    """What people read: a role's label, any other group's own name."""
    return str(Role(group_name).label) if group_name in set(Role) else group_name


def may_hand_out(person: Person) -> bool:
    """Whether the person may give roles to others at all; which ones, groups_to_hand_out says."""
    return isinstance(person, User) and person.is_active and person.has_perm(HAND_OUT_ROLES)


def groups_to_hand_out(person: Person) -> QuerySet[Group]:
    """The roles that hold nothing which `person` lacks."""
    if not isinstance(person, User) or not may_hand_out(person):
        return Group.objects.none()
    return role_groups().exclude(pk__in=stronger_groups(person).values("pk")).order_by("pk")


def stronger_groups(person: User) -> QuerySet[Group]:
    """Groups with a permission that `person` lacks."""
    return Group.objects.filter(permissions__in=missing_permissions(person))


def missing_permissions(person: User) -> QuerySet[Permission]:
    """Permissions that `person` holds neither directly nor by a group."""
    if person.is_superuser:
        return Permission.objects.none()
    held = Permission.objects.filter(Q(group__user=person) | Q(user=person))
    return Permission.objects.exclude(pk__in=held.order_by().values("pk"))
