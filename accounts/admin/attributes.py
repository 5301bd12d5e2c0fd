"""Admin pages of user attributes: their definitions, and the values on the pages of people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.base import changeable_of, refuse_too_many, selection_page
from accounts.importexport.readers import RESERVED, folded
from accounts.models import Attribute, AttributeValue, User, fold_value
from accounts.models.attributes import CHOICES_AT_MOST, SEPARATORS, VALUE_CHARACTERS
from accounts.users import attributes
from accounts.users.attributes import (
    ValuesField,
    ValueTakenError,
    check_definition,
    check_uses,
    fields_of,
    have_appeared,
    kept_by,
    may_set,
    page_of,
    people_with,
    save_definition,
    sentence_about,
    set_values,
    shown,
    taken_away_with,
)
from accounts.users.roles import sees_all
from accounts.views.confirmation import signed_in_person
from integrations.core.admin_pages import AnyModelAdmin, ConfirmedChanges, VersionedForm


class LinesField(forms.CharField):
    """A list of texts, each in its own line."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (value or "").splitlines()] if not isinstance(value, list) else value
        return list({fold_value(line): line for line in lines if line}.values())

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or []) != self.to_python(data))


class AttributeForm(VersionedForm):
    choices = LinesField(
        required=False,
        label=capfirst(_("choices")),
        help_text=_("Each in its own line; for the kind “one of a list” only."),
    )

    class Meta:
        model = Attribute
        fields = "__all__"  # noqa: DJ007  # the admin limits them by its fieldsets

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if folded(name) in RESERVED:
            raise ValidationError(gettext("Sheets of people have a column of this name already."))
        return name

    def clean_choices(self) -> list[str]:
        lines: list[str] = self.cleaned_data["choices"]
        if len(lines) > CHOICES_AT_MOST:
            raise ValidationError(gettext("At most %(count)d choices.") % {"count": CHOICES_AT_MOST})
        for one in lines:
            if len(one) > VALUE_CHARACTERS or not one.isprintable() or SEPARATORS.search(one):
                raise ValidationError(gettext("“%(value)s” cannot be a choice.") % {"value": one[:64]})
        return lines

    def _post_clean(self) -> None:
        """The model's own rules, then what people have already."""
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        for check in (check_definition, check_uses):
            if self.errors:
                return
            try:
                check(attribute=self.instance)
            except ValidationError as error:
                self.add_error(None, error)


@admin.register(Attribute)
class AttributeAdmin(ConfirmedChanges, AnyModelAdmin):
    form = AttributeForm
    list_display = ("name", "key", "kind", "is_many_valued", "is_unique", "is_employee_number", "is_bi_login_id")
    search_fields = ("name", "key")
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "key", "description", "position")}),
        (_("Values"), {"fields": ("kind", "choices", "is_many_valued", "is_unique")}),
        (_("Uses"), {"fields": ("is_employee_number", "is_bi_login_id")}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """With the two of WeCom, once people have them: they are not defined here, and nobody changes them."""
        context = {"have_wecom_attributes": have_appeared(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_readonly_fields(self, request: HttpRequest, obj: Attribute | None = None) -> tuple[str, ...]:
        return ("key",) if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: Attribute, form: Any, change: bool) -> None:
        save_definition(attribute=obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What goes with it in a sentence, not a line for each value of 100,000 people; and what forbids it."""
        listed = [[str(one), taken_away_with(one)] for one in objs]
        flat = [item for pair in listed for item in pair]
        kept = [f"{row._meta.verbose_name}: {row}" for one in objs for row in kept_by(one)]
        return flat, {self.opts.verbose_name_plural: len(listed)}, set(), kept

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and sees_all(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Attribute | None = None) -> bool:
        return super().has_change_permission(request, obj) and sees_all(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Attribute | None = None) -> bool:
        """The loginId of the BI stays until another attribute is marked as it."""
        is_kept = obj is not None and obj.is_bi_login_id
        return super().has_delete_permission(request, obj) and sees_all(request.user) and not is_kept


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
        lines = [(one.name, shown(values) or "—") for one, values in page_of(user_id=person.pk)]
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
        person = signed_in_person(request)
        people = changeable_of(queryset, person)
        if people.count() > attributes.SET_AT_MOST:
            refuse_too_many(request, attributes.SET_AT_MOST)
            return None
        which = WhichForm(request.POST if "attribute" in request.POST else None, person=person)
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
