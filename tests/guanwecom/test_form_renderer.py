"""Fields rendered without templates equal the output of Django's templates, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates
from django.template import Template
from django.test.signals import template_rendered
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override
from hypothesis import given
from hypothesis import strategies as st

from guanwecom.form_renderer import FormRenderer

THEIRS, OURS = DjangoTemplates(), FormRenderer()
# Values that break out of an attribute or a tag, safe and lazy texts, and numbers that languages format differently.
VALUES = (
    *("", " ", "plain", "<b>&amp;\"'`", mark_safe("<b>safe</b>"), gettext_lazy("<Save>"), gettext_lazy("Save")),
    *(0, 1234567, -1.5, Decimal("1234.50"), None, True, False, ("a", 1), datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
)
values = st.one_of(st.sampled_from(VALUES), st.text(max_size=8), st.integers(), st.floats(allow_nan=False))
attributes = st.dictionaries(st.one_of(st.sampled_from(["class", "disabled", "data-n"]), st.text(max_size=4)), values)
# A tuple as a label would make a group.
choices = st.lists(st.tuples(values, values.filter(lambda label: not isinstance(label, tuple))), max_size=4)
INPUTS = (
    *(forms.TextInput, forms.NumberInput, forms.EmailInput, forms.URLInput, forms.PasswordInput, forms.HiddenInput),
    *(forms.FileInput, forms.TelInput, forms.SearchInput, forms.ColorInput),
    *(forms.DateInput, forms.DateTimeInput, forms.TimeInput, forms.CheckboxInput),
)


@contextmanager
def rendered_templates() -> Iterator[list[str]]:
    names: list[str] = []

    def note(sender: Template, **_more: Any) -> None:
        names.append(str(sender.name))

    template_rendered.connect(note)
    try:
        yield names
    finally:
        template_rendered.disconnect(note)


def assert_same(template_name: str, context: dict[str, Any]) -> None:
    """Compare our output with Django's in both languages, and assert that no template was rendered."""
    for language in ("zh-hans", "en"):
        with override(language):
            expected = THEIRS.render(template_name, context)
            with rendered_templates() as names:
                found = OURS.render(template_name, context)
            assert found == expected
            assert names == []


@given(widget=st.sampled_from([*INPUTS, forms.Textarea]), name=st.text(max_size=8), value=values, attrs=attributes)
def test_a_field_is_what_the_template_writes(widget: Any, name: str, value: Any, attrs: dict[str, Any]) -> None:
    context = widget(attrs).get_context(name, value, {"id": f"id_{name}"})

    assert_same(context["widget"]["template_name"], context)


@given(
    widget=st.sampled_from([forms.Select, forms.SelectMultiple, forms.NullBooleanSelect]),
    name=st.text(max_size=8),
    choices=choices,
    grouped=st.dictionaries(st.text(max_size=4), choices, max_size=2),
    attrs=attributes,
)
def test_a_list_of_choices_is_what_the_templates_write(
    widget: Any, name: str, choices: list[Any], grouped: dict[str, Any], attrs: dict[str, Any]
) -> None:
    drawn = widget(attrs)
    drawn.choices = [*choices, *grouped.items()]
    chosen = [value for value, _label in choices[:2]]
    context = drawn.get_context(name, chosen if drawn.allow_multiple_selected else (chosen or [""])[0], {"id": "x"})

    assert_same(context["widget"]["template_name"], context)


@given(label=values, attrs=st.none() | attributes, use_tag=st.booleans())
def test_a_label_is_what_the_template_writes(label: Any, attrs: dict[str, Any] | None, use_tag: bool) -> None:
    context = {"field": None, "label": label, "attrs": attrs, "use_tag": use_tag, "tag": "legend"}

    assert_same("django/forms/label.html", context)


def test_no_errors_are_nothing() -> None:
    errors = forms.utils.ErrorList()

    for name in (errors.template_name, errors.template_name_ul):
        assert_same(name, errors.get_context())


def test_errors_are_what_the_template_writes() -> None:
    errors = forms.utils.ErrorList(["<b>", "Wrong"], field_id="id_name")

    found = OURS.render(errors.template_name, errors.get_context())

    assert found == '<ul class="errorlist" id="id_name_error"><li>&lt;b&gt;</li><li>Wrong</li></ul>'


def test_choices_with_a_template_of_their_own_are_rendered_by_it() -> None:
    class Marked(forms.Select):
        option_template_name = "django/forms/widgets/radio_option.html"

    context = Marked(choices=[("a", "A")]).get_context("name", "a", {})

    found = OURS.render("django/forms/widgets/select.html", context)

    assert found == THEIRS.render("django/forms/widgets/select.html", context)
    assert "<label>" in found


def test_pages_use_it() -> None:
    with rendered_templates() as names:
        html = forms.TextInput().render("name", "<value>")

    assert html == '<input type="text" name="name" value="&lt;value&gt;">'
    assert names == []
