"""The renderer of forms (settings.FORM_RENDERER): Django's, with common widgets written without templates.

Django renders three templates for a text field and two more for each choice of a list: up to half of a page's time.
The output is byte for byte that of those templates, except that lazy safe texts as values are escaped. Other templates
are rendered as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from typing import Any

from django.forms import renderers
from django.http import HttpRequest
from django.template import Context
from django.template.base import render_value_in_context
from django.utils.safestring import SafeData

# A context with the default settings: values are escaped, and localised.
_CONTEXT = Context()
_INPUTS = (
    *("text", "number", "email", "url", "password", "hidden", "file", "tel", "search", "color"),
    *("date", "datetime", "time", "checkbox"),
)
_OPTION = "django/forms/widgets/select_option.html"


class FormRenderer(renderers.DjangoTemplates):
    """Renderer that writes common widgets itself. Raises TemplateDoesNotExist for names of no template."""

    def render(self, template_name: str, context: dict[str, Any], request: HttpRequest | None = None) -> str:
        write = _WRITERS.get(template_name)
        html = None if write is None else write(context)
        # The caller marks the result as safe, as with Django's own renderers.
        return str(super().render(template_name, context, request)) if html is None else html.strip()


def _input(context: Mapping[str, Any]) -> str:
    widget = context["widget"]
    value = "" if widget["value"] is None else f' value="{_as_text(widget["value"])}"'
    return f'<input type="{_shown(widget["type"])}" name="{_shown(widget["name"])}"{value}{_attributes(widget)}>'


def _textarea(context: Mapping[str, Any]) -> str:
    widget = context["widget"]
    value = _shown(widget["value"]) if widget["value"] else ""
    return f'<textarea name="{_shown(widget["name"])}"{_attributes(widget)}>\n{value}</textarea>'


def _select(context: Mapping[str, Any]) -> str | None:
    """Return None if an option has a template of its own."""
    widget = context["widget"]
    if any(option["template_name"] != _OPTION for _name, options, _index in widget["optgroups"] for option in options):
        return None
    options = "".join(_groups(widget["optgroups"]))
    return f'<select name="{_shown(widget["name"])}"{_attributes(widget)}>{options}\n</select>'


def _groups(groups: Iterable[tuple[Any, Iterable[Mapping[str, Any]], int]]) -> Iterator[str]:
    for name, options, _index in groups:
        if name:
            yield f'\n  <optgroup label="{_shown(name)}">'
        for option in options:
            value, label = _as_text(option["value"]), _shown(option["label"])
            yield f'\n  <option value="{value}"{_attributes(option)}>{label}</option>\n'
        if name:
            yield "\n  </optgroup>"


def _label(context: Mapping[str, Any]) -> str:
    label = _shown(context["label"])
    if not context["use_tag"]:
        return label
    tag = _shown(context["tag"])
    return f"<{tag}{_attributes(context)}>{label}</{tag}>"


def _errors(context: Mapping[str, Any]) -> str | None:
    """Return an empty text if there are no errors, which is nearly always so."""
    return None if context["errors"] else ""


def _attributes(tag: Mapping[str, Any]) -> str:
    if not tag["attrs"]:
        return ""
    return "".join(
        f" {_shown(name)}" if value is True else f' {_shown(name)}="{_as_text(value)}"'
        for name, value in tag["attrs"].items()
        if value is not False
    )


def _shown(value: Any) -> str:
    """Write like {{ value }}."""
    if type(value) is str:  # nearly always
        return escape(value)
    return render_value_in_context(value, _CONTEXT)


def _as_text(value: Any) -> str:
    """Write like {{ value|stringformat:'s' }}: numbers are not localised."""
    return str(value) if isinstance(value, SafeData) else escape(str(value))


_WRITERS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    **{f"django/forms/widgets/{name}.html": _input for name in _INPUTS},
    "django/forms/widgets/textarea.html": _textarea,
    "django/forms/widgets/select.html": _select,
    "django/forms/label.html": _label,
    **{f"django/forms/errors/list/{name}.html": _errors for name in ("default", "ul")},
}
