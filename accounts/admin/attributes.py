"""Admin pages of user attribute definitions, for administrators of all companies."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.importexport.readers import RESERVED, folded
from accounts.models import Attribute, fold_value
from accounts.models.attributes import CHOICES_AT_MOST, SEPARATORS, VALUE_CHARACTERS
from accounts.users.attribute_definitions import check_uses, have_appeared, kept_by, taken_away_with
from accounts.users.attributes import check_definition, save_definition
from accounts.users.scopes import sees_all
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
        wrong = next(
            (one for one in lines if len(one) > VALUE_CHARACTERS or not one.isprintable() or SEPARATORS.search(one)),
            None,
        )
        if wrong is not None:
            raise ValidationError(gettext("“%(value)s” cannot be a choice.") % {"value": wrong[:64]})
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
        kept = [_named(row) for one in objs for row in kept_by(one)]
        return flat, {self.opts.verbose_name_plural: len(listed)}, set(), kept

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and sees_all(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Attribute | None = None) -> bool:
        return super().has_change_permission(request, obj) and sees_all(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Attribute | None = None) -> bool:
        """The loginId of the BI stays until another attribute is marked as it."""
        is_kept = obj is not None and obj.is_bi_login_id
        return super().has_delete_permission(request, obj) and sees_all(request.user) and not is_kept


def _named(row: Model) -> str:
    return f"{row._meta.verbose_name}: {row}"
