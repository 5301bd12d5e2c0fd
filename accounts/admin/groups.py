"""Admin pages of groups, for superusers: recipients, and sets of permissions beside the roles.

Whoever may push looks groups up by name as recipients. The roles are not changed here: accounts.users.roles defines
them.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as GroupAdminBase
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.users import limited_administrators, roles
from accounts.users.roles import PermissionsField, choosable, right_of
from integrations.admin.base import NamedDeletions
from integrations.core.admin_pages import ConfirmedChanges, VersionedForm

admin.site.unregister(Group)


class GroupForm(VersionedForm):
    class Meta:
        model = Group
        fields = ("name", "permissions")

    def clean_permissions(self) -> QuerySet[Permission]:
        chosen: QuerySet[Permission] = self.cleaned_data["permissions"]
        if objection := limited_administrators.objection_to_permissions(self.instance, chosen):
            raise ValidationError(objection, code="identity")
        return chosen


@admin.register(Group)
class GroupAdmin(ConfirmedChanges, NamedDeletions, GroupAdminBase):
    form = GroupForm
    list_display = ("shown_name",)
    # Not Django's two boxes side by side, whose texts have no Chinese.
    filter_horizontal = ()

    readonly_fields = ("shown_name", "shown_permissions")

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        """A role's name and permissions are words for reading."""
        return ("shown_name", "shown_permissions") if _is_role(obj) else ("name", "permissions")

    @admin.display(description=_("name"), ordering="name")
    def shown_name(self, group: Group) -> str:
        return roles.label_of(group.name)

    @admin.display(description=_("permissions"))
    def shown_permissions(self, group: Group) -> SafeString:
        """A line for each kind of row, with all that may be done to it."""
        found = group.permissions.select_related("content_type")
        lines = [(kind, [right_of(one) for one in rows]) for kind, rows in groupby(found, lambda one: one.content_type)]
        return format_html_join("", "<div>{}: {}</div>", ((kind, gettext(", ").join(rights)) for kind, rights in lines))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context["subtitle"] = context["label"] = roles.label_of(context["original"].name)
        return super().render_change_form(request, context, *args, **kwargs)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        group = self.get_object(request, object_id)
        named = {}
        if group is not None:
            label = roles.label_of(group.name)
            named = {"label": label, "title": gettext("Change history: %s") % label}
        return super().history_view(request, object_id, {**named, **(extra_context or {})})

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            kwargs |= {"form_class": PermissionsField, "queryset": choosable()}
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        groups: QuerySet[Group] = super().get_queryset(request)
        return groups.exclude(name__in=list(roles.Role)) if _is_lookup(request) else groups

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_view = _is_superuser(request) or _is_lookup(request)
        return may_view and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request) and not _is_role(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request) and not _is_role(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        """The list's own deletion asks for no single group."""
        super().delete_queryset(request, queryset.exclude(name__in=list(roles.Role)))


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def _is_lookup(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.url_name == "autocomplete"


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in set(roles.Role)
