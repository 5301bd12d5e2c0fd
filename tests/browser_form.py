"""Reading of a page's form, to send what a browser would send of an untouched form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.forms import BoundField
    from django.test import Client

_NEVER_SENT = frozenset({"submit", "button", "reset", "image", "file"})
Attributes = list[tuple[str, str | None]]


class _Reader(HTMLParser):
    """Parser that collects the fields of the form whose `id` is `form_id`."""

    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.form_id = form_id
        self.sent: dict[str, list[str]] = {}
        self._is_inside = False
        self._textarea: str | None = None
        self._select: str | None = None
        self._is_multiple = False
        self._options: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        values = dict(attrs)
        if tag == "form":
            self._is_inside = values.get("id") == self.form_id
        if not self._is_inside:
            return
        name = "" if "disabled" in values else values.get("name") or ""
        if tag == "input" and name:
            self._add_input(name, values)
        elif tag == "textarea" and name:
            self._textarea = name
            self.sent.setdefault(name, []).append("")
        elif tag == "select" and name:
            self._select, self._is_multiple, self._options = name, "multiple" in values, []
        elif tag == "option" and self._select is not None:
            self._options.append((values.get("value") or "", "selected" in values))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_inside = False
        elif tag == "textarea":
            self._textarea = None
        elif tag == "select" and self._select is not None:
            chosen = [value for value, is_selected in self._options if is_selected]
            if not chosen and not self._is_multiple and self._options:
                chosen = [self._options[0][0]]
            self.sent.setdefault(self._select, []).extend(chosen)
            self._select = None

    def handle_data(self, data: str) -> None:
        if self._textarea is not None:
            self.sent[self._textarea][-1] += data

    def _add_input(self, name: str, values: dict[str, str | None]) -> None:
        kind = values.get("type") or "text"
        is_box = kind in {"checkbox", "radio"}
        if kind in _NEVER_SENT or (is_box and "checked" not in values):
            return
        self.sent.setdefault(name, []).append(values.get("value") or ("on" if is_box else ""))


def parse_form(html: str, form_id: str) -> dict[str, list[str]]:
    """Return the POST data of the form as the page shows it. Browsers drop the first newline of a text area."""
    reader = _Reader(form_id)
    reader.feed(html)
    return {name: [value.removeprefix("\n") for value in values] for name, values in reader.sent.items()}


@contextmanager
def skip_drawing() -> Iterator[None]:
    """Answer with empty pages while the block runs. The answer's `context` is what the view gave the page, with the
    messages to the user, which are then deleted, as when a page is drawn.
    """
    from django.contrib.messages import get_messages
    from django.template import Context, Template
    from django.template.response import TemplateResponse
    from django.test.signals import template_rendered

    empty = Template("")

    def give_context(page: Any) -> str:
        context = Context({**(page.context_data or {}), "messages": list(get_messages(page._request))})
        template_rendered.send(sender=empty, template=empty, context=context)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TemplateResponse, "rendered_content", property(give_context))
        yield


def _open(client: Client, address: str, *, with_part: bool) -> tuple[dict[str, Any], list[BoundField]]:
    """Return the context and the fields of an administration page, without drawing it. `with_part`: also the fields of
    the content, which is a form of its own on the page of a push."""
    with skip_drawing():
        page: Any = client.get(address)
    assert page.status_code == 200
    form = page.context_data["adminform"].form
    forms = [form, *filter(None, [getattr(form, "part", None) if with_part else None])]
    for inline in page.context_data["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    return page.context_data, [field for each in forms for field in each]


def read_fields(client: Client, address: str) -> list[BoundField]:
    """Return the fields of an administration page, without drawing it."""
    return _open(client, address, with_part=False)[1]


def read_unchanged_form(client: Client, address: str) -> dict[str, list[str]]:
    """Return what a browser would send of a page's untouched form, like `parse_form` but without drawing the page."""
    context, fields = _open(client, address, with_part=True)
    sent: dict[str, list[str]] = {}
    if context.get("is_one_page") or context.get("is_channel_page"):
        sent["_buttons"] = ["1"]
    if "form_token" in context:
        sent["token"] = [context["form_token"]]
    for field in fields:
        if not field.field.disabled:
            sent |= _values_of(field)
    return sent


def _values_of(field: BoundField) -> dict[str, list[str]]:
    from django import forms

    widget: Any = getattr(field.field.widget, "widget", field.field.widget)  # inside Django's RelatedFieldWidgetWrapper
    if type(widget).__name__ == "AdminTextareaWidget" or type(widget) in {
        forms.TextInput,
        forms.Textarea,
        forms.NumberInput,
        forms.HiddenInput,
    }:
        value = widget.format_value(field.value())
        return {field.html_name: ["" if value is None else str(value)]}
    if isinstance(widget, forms.Select) and (chosen := widget.format_value(field.value())) not in ([], [""]):
        return {field.html_name: chosen}
    reader = _Reader("")
    reader.feed(f'<form id="">{field}</form>')
    return reader.sent


def read_page_version(client: Client, address: str) -> dict[str, str]:
    """Read the `page_version` fields of an administration page, to be sent with other values."""
    return {field.html_name: field.value() for field in read_fields(client, address) if field.name == "page_version"}
