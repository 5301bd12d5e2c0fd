"""Permissions in the language of who reads: Django keeps their names in the database, in English."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from django.utils.translation import gettext, pgettext_lazy

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
    return Permission.objects.filter(content_type__app_label__in=_APPS)


def name_of(permission: Permission) -> str:
    """“People | user · change”. `permission`: with its content type, which is looked up otherwise."""
    kind = permission.content_type
    verb, _underscore, model = permission.codename.partition("_")
    is_usual = verb in _VERBS and model == kind.model
    return f"{kind} · {_VERBS[verb] if is_usual else gettext(permission.name)}"


class PermissionsField(PermissionsFieldBase):
    """Several permissions to choose."""

    def label_from_instance(self, obj: Permission) -> str:
        return name_of(obj)
