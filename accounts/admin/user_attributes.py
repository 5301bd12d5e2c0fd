"""User attributes in the administration of people: on a person's page, in the list's filters and search, in bulk."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy, ngettext

from accounts.admin import imports
from accounts.admin.base import changeable_of, selection_page
from accounts.models import Attribute, AttributeValue, User, fold_value
from accounts.users import attributes
from accounts.users.attribute_fields import ValuesField, fields_of, may_set, sentence_about, shown_lines
from accounts.users.attributes import ValueTakenError, page_of, people_with, set_values
from integrations.core.admin_pages import AnyModelAdmin

CHANGE = "accounts.change_user"
# A filter with more choices than this would push everything else off the page.
CHOICES_IN_FILTER = 30


def choice_filter(attribute: Attribute) -> type[admin.SimpleListFilter]:
    """People by one attribute that has choices."""

    def lookups(self: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(one, one) for one in attribute.choices]

    def queryset(self: Any, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        if self.value() not in attribute.choices:
            return queryset
        having = people_with(attribute=attribute, values=[self.value()])
        return queryset.filter(pk__in=having.values("pk"))

    members = {
        "title": attribute.name,
        "parameter_name": f"a_{attribute.key}",
        "lookups": lookups,
        "queryset": queryset,
    }
    return type("ChoiceFilter", (admin.SimpleListFilter,), members)


class WhichForm(forms.Form):
    """Which attribute to set for the selected people."""

    attribute = forms.ModelChoiceField(
        queryset=Attribute.objects.none(), label=capfirst(gettext_lazy("user attribute"))
    )

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = [one.pk for one in Attribute.objects.all() if may_set(person, one)]
        self.fields["attribute"].queryset = Attribute.objects.filter(pk__in=allowed).by_name()  # type: ignore[attr-defined]  # of a ModelChoiceField


class ValuesForm(forms.Form):
    """The values that all of them get."""

    def __init__(self, *args: Any, attribute: Attribute, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["values"] = ValuesField(attribute)


class AttributePages(AnyModelAdmin):
    """A part of UserAdmin."""

    # --- One person ---------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = list(super().get_fieldsets(request, obj))
        if obj is None or not Attribute.objects.exists():
            return fieldsets
        names: tuple[str, ...] = ("attributes_shown",)
        if self.has_change_permission(request, obj):
            names = tuple(fields_of(obj, editor=request.user))
        return [*fieldsets, (gettext_lazy("User attributes"), {"fields": names})]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return (*super().get_readonly_fields(request, obj), "attributes_shown")

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None and self.has_change_permission(request, obj):
            fields = fields_of(obj, editor=request.user)
            kwargs["form"] = type("UserForm", (kwargs.get("form", self.form),), fields)
        return super().get_form(request, obj, change=change, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if change:
            for attribute, values in form.attribute_values():
                set_values(attribute=attribute, values={form.instance.pk: values})

    @admin.display(description=gettext_lazy("values"))
    def attributes_shown(self, person: User) -> SafeString:
        lines = shown_lines(page_of(user_id=person.pk))
        return format_html_join("", '<div class="attribute-line"><b>{}</b> {}</div>', lines)

    # --- The list -----------------------------------------------------------------------------------------------------

    def get_list_filter(self, request: HttpRequest) -> Any:
        chosen = Attribute.objects.filter(kind=Attribute.Kind.CHOICE).by_name()
        few = [one for one in chosen if len(one.choices) <= CHOICES_IN_FILTER]
        return (*super().get_list_filter(request), *(choice_filter(one) for one in few))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[User], search_term: str) -> Any:
        """By a value that belongs to one person, such as an employee number, too: the whole of it."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        if not search_term.strip():
            return found, may_repeat
        values = AttributeValue.objects.filter(
            attribute__in=Attribute.objects.filter(is_unique=True).order_by().values("pk"),
            folded=fold_value(search_term),
        )
        return found | queryset.filter(pk__in=values.order_by().values("user_id")), may_repeat

    def has_attribute_permission(self, request: HttpRequest) -> bool:
        """Named by the bulk action's permissions."""
        return request.user.has_perm(CHANGE) and Attribute.objects.exists()

    @admin.action(description=gettext_lazy("Set a user attribute of the selected people"), permissions=["attribute"])
    def set_attribute(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """First a page that asks which attribute, then which value, then the change."""
        if not isinstance(request.user, User):
            raise PermissionDenied
        people = changeable_of(queryset, request.user)
        if people.count() > attributes.SET_AT_MOST:
            sentence = gettext(
                "Nothing was changed: at most {count} people can be set at once. Select fewer, or {file}."
            )
            messages.error(request, imports.too_many(sentence, at_most=attributes.SET_AT_MOST))
            return None
        which = WhichForm(request.POST if "attribute" in request.POST else None, person=request.user)
        attribute = which.cleaned_data["attribute"] if which.is_valid() else None
        form = ValuesForm(request.POST if "apply" in request.POST else None, attribute=attribute) if attribute else None
        if attribute and form and form.is_valid() and _set_all(request, attribute, people, form):
            return None
        return selection_page(
            *(self, request),
            action="set_attribute",
            selected=queryset,
            people=people,
            title=gettext_lazy("Set a user attribute"),
            which=which,
            attribute=attribute,
            form=form,
        )


def _set_all(request: HttpRequest, attribute: Attribute, people: QuerySet[User], form: ValuesForm) -> bool:
    """Whether it was done; if not, the form says why."""
    values = form.cleaned_data["values"]
    try:
        keys = people.order_by().values_list("pk", flat=True)
        count = set_values(attribute=attribute, values=dict.fromkeys(keys, values))
    except ValueTakenError as error:
        value, holder_id = next(iter(error.taken.values()))
        form.add_error("values", sentence_about(value, holder_id, reader=request.user))
        return False
    sentence = ngettext(
        "“%(name)s” of %(count)d person was changed.", "“%(name)s” of %(count)d people was changed.", count
    )
    messages.success(request, sentence % {"name": attribute, "count": count})
    return True
