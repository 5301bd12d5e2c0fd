"""Admin pages of groups, for superusers, and of the rules that give a group to the people of a department.

Push editors can only search groups by name, as recipients. Roles, defined in accounts.users.roles, cannot be changed.
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

from accounts.admin.base import Column, RowsAdmin
from accounts.admin.directory import CompanyFilter
from accounts.directory.groups import DepartmentField, DepartmentSelect
from accounts.models import DepartmentGroup, User
from accounts.models.directory import ROLE_PREFIX
from accounts.users import bi_identity, roles
from accounts.users.roles import PermissionsField, find_choosable_permissions, name_permission, sees_all
from integrations.admin.base import NamedDeletions, State, hide_related_links, show_state
from integrations.core.admin_pages import ConfirmedChanges, VersionedForm
from integrations.directory.departments import find_paths

admin.site.unregister(Group)


class GroupForm(VersionedForm):
    """A form that refuses permissions by which limited administrators could act as somebody else in the BI."""

    class Meta:
        model = Group
        fields = ("name", "permissions")

    def clean_permissions(self) -> QuerySet[Permission]:
        chosen: QuerySet[Permission] = self.cleaned_data["permissions"]
        if objection := bi_identity.explain_objection_to_permissions(self.instance, chosen):
            raise ValidationError(objection, code="identity")
        return chosen


@admin.register(Group)
class GroupAdmin(ConfirmedChanges, NamedDeletions, GroupAdminBase):
    form = GroupForm
    # The only fields on the page of a role, which cannot be changed.
    readonly_fields = (  # type: ignore[assignment]  # the stubs do not know Column
        Column("shown_name", _("name"), lambda group: roles.label_group(group.name), ordering="name"),
        "shown_permissions",
    )
    list_display = readonly_fields[:1]
    # Do not use Django's widget with two lists: its texts have no Chinese translation.
    filter_horizontal = ()

    @admin.display(description=_("permissions"))
    def shown_permissions(self, group: Group) -> SafeString:
        """Show a line for each model with its permissions."""
        kinds = groupby(group.permissions.select_related("content_type"), lambda one: one.content_type)
        lines = ((kind, gettext(", ").join(map(name_permission, rows))) for kind, rows in kinds)
        return format_html_join("", "<div>{}: {}</div>", lines)

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        return self.readonly_fields if _is_role(obj) else ("name", "permissions")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context["subtitle"] = context["label"] = roles.label_group(context["original"].name)
        return super().render_change_form(request, context, *args, **kwargs)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        group = self.get_object(request, object_id)
        label = roles.label_group(group.name) if group is not None else ""
        context = {"label": label, "title": gettext("Change history: %s") % label}
        return super().history_view(request, object_id, {**context, **(extra_context or {})})

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            kwargs |= {"form_class": PermissionsField, "queryset": find_choosable_permissions()}
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        groups: QuerySet[Group] = super().get_queryset(request)
        return groups.exclude(name__in=list(roles.Role)) if _is_autocomplete(request) else groups

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_view = _is_superuser(request) or _is_autocomplete(request)
        return may_view and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request) and not _is_role(obj)

    has_delete_permission = has_change_permission

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        """Delete the selected groups except roles. Django's action does not check the permission for each group."""
        super().delete_queryset(request, queryset.exclude(name__in=list(roles.Role)))


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def _is_autocomplete(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.url_name == "autocomplete"


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in set(roles.Role)


class DepartmentGroupForm(VersionedForm):
    """Form of a rule that gives a group by department. The admin sets `editor` for each request."""

    editor: User

    class Meta:
        model = DepartmentGroup
        fields = ("department", "with_subdepartments", "group")
        field_classes = {"department": DepartmentField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "department" not in fields:  # the form has no fields for people who may only view
            return
        chosen = [self.instance.department_id] if self.instance.pk else []
        fields["department"].offer_departments(seen_by=self.editor, chosen=chosen)
        # Roles are never offered; groups with permissions are offered to superusers only.
        groups = Group.objects.exclude(name__startswith=ROLE_PREFIX).order_by("name")
        fields["group"].queryset = groups if self.editor.is_superuser else groups.filter(permissions__isnull=True)


class CompanyOfDepartmentFilter(CompanyFilter):
    """Filter by the company of the department."""

    path = "department__corp"


@admin.register(DepartmentGroup)
class DepartmentGroupAdmin(ConfirmedChanges, RowsAdmin):
    form = DepartmentGroupForm
    empty_list = _("A rule says into which group the people of a WeCom department are put with each synchronisation.")
    list_display = (Column("place", _("department"), lambda rule: rule.path), "group", "with_subdepartments", "state")
    list_filter = (CompanyOfDepartmentFilter,)
    list_select_related = ("department__corp", "group")
    actions = None
    description = _(
        "Takes effect with each synchronisation, if the directory policy of the company creates and updates people. "
        "Memberships that an administrator gave are never removed."
    )
    fieldsets = ((None, {"fields": ("department", "with_subdepartments", "group"), "description": description}),)

    class Media:
        css = {"all": ["integrations/corp.css"]}

    @admin.display(description=_("state"))
    def state(self, rule: Any) -> SafeString:
        if rule.department.removed_at is not None:
            return show_state(State.PAUSED, gettext("the department no longer exists"))
        if rule.is_in_force:  # set by describe_rows
            return show_state(State.FINE)
        return show_state(State.WAITING, gettext("the group has permissions, so a superuser has to save this"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[DepartmentGroup]:
        return DepartmentGroup.objects.visible_to(request.user)

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Set `path` (of the department) and `is_in_force` on each rule, in a fixed number of queries."""
        paths = find_paths([rule.department for rule in rows])
        in_force = DepartmentGroup.objects.in_force().filter(pk__in=[rule.pk for rule in rows])
        keys = set(in_force.values_list("pk", flat=True))
        for rule in rows:
            rule.path, rule.is_in_force = paths[rule.department_id], rule.pk in keys

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and sees_all(request.user)

    def has_change_permission(self, request: HttpRequest, obj: DepartmentGroup | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_change_rule(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: DepartmentGroup | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_change_rule(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.editor = request.user
        hide_related_links(form, "department", "group")
        return form

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "department":
            kwargs["widget"] = DepartmentSelect(db_field, self.admin_site, using=kwargs.get("using"))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: DepartmentGroup, form: Any, change: bool) -> None:
        # A rule that a superuser saves may give a group with permissions (see DepartmentGroup).
        obj.may_lend_rights = bool(request.user.is_active and request.user.is_superuser)
        super().save_model(request, obj, form, change)


def _may_change_rule(request: HttpRequest, rule: DepartmentGroup | None) -> bool:
    """Return whether the user may change the rule. Only superusers may change rules for groups with permissions."""
    if not sees_all(request.user):
        return False
    if request.user.is_superuser or rule is None:
        return True
    return not rule.group.permissions.exists()
