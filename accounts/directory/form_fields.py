"""Form field to choose departments: searchable, with path and company."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.db.models import QuerySet

from integrations.directory.departments import paths_of
from integrations.models import Department

if TYPE_CHECKING:
    from integrations.models.fields import Person

    OneBase = forms.ModelChoiceField[Department]
    SeveralBase = forms.ModelMultipleChoiceField[Department]
    SearchBase = AutocompleteJsonView
else:
    OneBase, SeveralBase = forms.ModelChoiceField, forms.ModelMultipleChoiceField
    SearchBase = AutocompleteJsonView

SEARCH = "%s:integrations_department_search"


class DepartmentSelect(AutocompleteSelect):
    url_name = SEARCH


class DepartmentsSelect(AutocompleteSelectMultiple):
    url_name = SEARCH

    def build_attrs(self, base_attrs: Any, extra_attrs: Any = None) -> dict[str, Any]:
        """Without Select2's cross for all at once: it stands in the list of choices, where it is no item of it."""
        return {**super().build_attrs(base_attrs, extra_attrs), "data-allow-clear": "false"}


class DepartmentSearch(SearchBase):
    """Answers the selects: departments that are there, of companies that one sees, with their paths."""

    def get_queryset(self) -> Any:
        found: QuerySet[Department] = super().get_queryset()
        return found.filter(removed_at__isnull=True)

    def get_context_data(self, *, object_list: Any = None, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(object_list=object_list, **kwargs)
        context["object_list"] = list(context["object_list"])
        self._paths = paths_of(context["object_list"])
        return context

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        return {"id": str(obj.pk), "text": self._paths[obj.pk]}


class _Offered:
    """What both fields share: whose departments are offered, and what they are called."""

    queryset: Any

    def offer(self, *, seen_by: Person, chosen: list[int]) -> None:
        """Those that are there, of companies that `seen_by` sees; and what is `chosen` already may stay."""
        stored = Department.objects.filter(pk__in=chosen)
        self.queryset = Department.objects.visible_to(seen_by).present() | stored
        self._paths = paths_of(stored) if chosen else {}

    def label_from_instance(self, department: Department) -> str:
        return self._paths.get(department.pk) or paths_of([department])[department.pk]


class DepartmentField(_Offered, OneBase):
    _paths: dict[int, str] = {}  # noqa: RUF012  # never changed, only replaced


class DepartmentsField(_Offered, SeveralBase):
    _paths: dict[int, str] = {}  # noqa: RUF012  # never changed, only replaced
