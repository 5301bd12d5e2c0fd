"""Admin pages that map WeCom departments to groups."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.directory import CompanyFilter, pill
from accounts.directory.form_fields import DepartmentField, DepartmentSelect
from accounts.models import DepartmentGroup, User
from accounts.models.groups import ROLE_PREFIX
from accounts.users.scopes import sees_all
from integrations.core.admin_pages import AnyModelAdmin, ConfirmedChanges, VersionedForm
from integrations.directory.departments import paths_of


class DepartmentGroupForm(VersionedForm):
    """`editor`: set by the admin for each request."""

    editor: User

    class Meta:
        model = DepartmentGroup
        fields = ("department", "with_subdepartments", "group")
        field_classes = {"department": DepartmentField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "department" not in fields:  # somebody who may only look gets no fields
            return
        chosen = [self.instance.department_id] if self.instance.pk else []
        fields["department"].offer(seen_by=self.editor, chosen=chosen)
        fields["group"].queryset = groups_for(self.editor)


def groups_for(editor: User) -> QuerySet[Group]:
    """No roles; and for superusers alone those that lend permissions."""
    groups = Group.objects.exclude(name__startswith=ROLE_PREFIX).order_by("name")
    return groups if editor.is_superuser else groups.filter(permissions__isnull=True)


class CompanyOfDepartmentFilter(CompanyFilter):
    path = "department__corp"


@admin.register(DepartmentGroup)
class DepartmentGroupAdmin(ConfirmedChanges, AnyModelAdmin):
    form = DepartmentGroupForm
    empty_list = _(
        "Here you say into which group the people of a department of WeCom are put with each synchronisation."
    )
    list_display = ("place", "group", "with_subdepartments", "state")
    list_filter = (CompanyOfDepartmentFilter,)
    list_select_related = ("department__corp", "group")
    actions = None
    fieldsets = (
        (
            None,
            {
                "fields": ("department", "with_subdepartments", "group"),
                "description": _(
                    "Works where the directory policy of the company creates and updates people, with each run. "
                    "Memberships that an administrator gave are never taken away."
                ),
            },
        ),
    )

    class Media:
        css = {"all": ["integrations/corp.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[DepartmentGroup]:
        return DepartmentGroup.objects.visible_to(request.user)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list with each department's path and each rule's state, in one go for all."""
        changelist: Any = super().get_changelist_instance(request)
        rules = list(changelist.result_list)
        paths = paths_of([rule.department for rule in rules])
        in_force = DepartmentGroup.objects.in_force().filter(pk__in=[rule.pk for rule in rules])
        keys = set(in_force.values_list("pk", flat=True))
        for rule in rules:
            rule.shown_path, rule.is_in_force = paths[rule.department_id], rule.pk in keys
        changelist.result_list = rules
        return changelist

    @admin.display(description=_("department"))
    def place(self, rule: DepartmentGroup) -> str:
        return str(rule.shown_path)  # type: ignore[attr-defined]  # set by get_changelist_instance

    @admin.display(description=_("state"))
    def state(self, rule: DepartmentGroup) -> SafeString:
        if rule.department.removed_at is not None:
            return pill("warn", gettext("the department is not there any more"))
        if rule.is_in_force:  # type: ignore[attr-defined]  # set by get_changelist_instance
            return pill("good", gettext("in force"))
        return pill("bad", gettext("not in force: the group has permissions, so a superuser has to save this"))

    # --- Who may ------------------------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and sees_all(request.user)

    def has_change_permission(self, request: HttpRequest, obj: DepartmentGroup | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_set(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: DepartmentGroup | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_set(request, obj)

    # --- The form -----------------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.editor = request.user
        return form

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "department":
            kwargs["widget"] = DepartmentSelect(db_field, self.admin_site, using=kwargs.get("using"))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the pencils and crosses that lead to other pages."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name in {"department", "group"} and field is not None:
            widget: Any = field.widget
            widget.can_add_related = widget.can_change_related = False
            widget.can_view_related = widget.can_delete_related = False
        return field

    def save_model(self, request: HttpRequest, obj: DepartmentGroup, form: Any, change: bool) -> None:
        obj.may_lend_rights = bool(request.user.is_active and request.user.is_superuser)
        super().save_model(request, obj, form, change)


def _may_set(request: HttpRequest, rule: DepartmentGroup | None) -> bool:
    """What lends permissions is the superusers' alone."""
    if not sees_all(request.user):
        return False
    if request.user.is_superuser or rule is None:
        return True
    return not rule.group.permissions.exists()
