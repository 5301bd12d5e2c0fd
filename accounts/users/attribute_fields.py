"""User attributes as form fields: for one person, and for many at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import Attribute, User, fold_value
from accounts.users.attributes import holders_of, page_of
from accounts.users.scopes import people_visible_to, sees_all

if TYPE_CHECKING:
    from integrations.models.fields import Person

PREFIX = "attribute_"


class ValuesField(forms.CharField):
    """The values of one attribute: a line for each where there may be several, a list where there are choices."""

    def __init__(self, attribute: Attribute, **kwargs: Any) -> None:
        self.attribute = attribute
        widget = _widget(attribute)
        super().__init__(
            **{
                "label": attribute.name,
                "help_text": attribute.description,
                "required": False,
                "widget": widget,
                "strip": False,
                **kwargs,
            }
        )

    def prepare_value(self, value: Any) -> Any:
        """As the widget shows it; what somebody typed comes back as they typed it."""
        if isinstance(value, str):
            return value
        is_list = isinstance(self.widget, forms.SelectMultiple)
        return list(value or ()) if is_list else "\n".join(value or ())

    def to_python(self, value: Any) -> Any:
        texts = [value or ""] if value is None or isinstance(value, str) else list(value)
        return self.attribute.cleaned(part for text in texts for part in self.attribute.parts(str(text)))

    def run_validators(self, value: Any) -> None:
        """Attribute.cleaned has checked it."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        if self.disabled:
            return False
        try:
            return bool(list(initial or ()) != self.to_python(data))
        except ValidationError:
            return True


def _widget(attribute: Attribute) -> forms.Widget:
    if attribute.kind == Attribute.Kind.CHOICE:
        choices = [(one, one) for one in attribute.choices]
        if attribute.is_many_valued:
            return forms.CheckboxSelectMultiple(choices=choices)
        return forms.Select(choices=[("", "---------"), *choices])
    if attribute.is_many_valued:
        return forms.Textarea({"rows": 3, "class": "vLargeTextField"})
    return forms.TextInput({"class": "vTextField"})


def field_name(attribute: Attribute) -> str:
    return f"{PREFIX}{attribute.key}"


def may_set(person: Person, attribute: Attribute) -> bool:
    """Who enters the BI as whom is for administrators of all companies: the BI knows people of every company."""
    return sees_all(person) or not attribute.is_bi_login_id


def fields_of(person: User, *, editor: Person) -> dict[str, ValuesField]:
    """A field for each attribute with the person's values."""
    return {
        field_name(attribute): ValuesField(attribute, initial=values, disabled=not may_set(editor, attribute))
        for attribute, values in page_of(user_id=person.pk)
    }


def taken_sentence(attribute: Attribute, user_id: int | None, values: Iterable[str], *, reader: Person) -> str:
    """Why a person cannot get `values`: somebody else has one. Empty where nobody has. Names only whom one may see."""
    texts = list(values)
    if not attribute.is_unique or not texts:
        return ""
    found = holders_of(attribute=attribute, values=texts)
    for value in texts:
        others = found.get(fold_value(value), set()) - {user_id}
        if others:
            return sentence_about(value, others.pop(), reader=reader)
    return ""


def sentence_about(value: str, holder_id: int, *, reader: Person) -> str:
    """Who has `value` already; without the name where `reader` may not see the person."""
    holder = people_visible_to(reader).filter(pk=holder_id).first()
    if holder is None:
        return _("“%(value)s” belongs to somebody else already.") % {"value": value}
    return _("“%(value)s” belongs to %(person)s already.") % {"value": value, "person": holder}


def shown_lines(pairs: Sequence[tuple[Attribute, list[str]]]) -> list[tuple[str, str]]:
    """Names and values for a page that one only reads."""
    return [(attribute.name, "; ".join(values) or "—") for attribute, values in pairs]
