"""Quicker rendering of Django's own form templates in tests: selects in Python, and all without the test signal.

A page of the administration has up to 1,000 options. Each is two templates, of which the test client copies the
contexts: three quarters of the processor time of a page.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from django.template import Context, Template
from django.template.base import render_value_in_context
from django.utils.safestring import SafeData, SafeString

SELECT = "django/forms/widgets/select.html"


def render_quickly(template: Template, context: Context) -> str:
    """Render as `Template._render` does outside tests, where it sends no signal."""
    if template.name == SELECT:
        return SafeString(_render_select(context))
    rendered: str = template.nodelist.render(context)
    return rendered


def _render_select(context: Context) -> str:
    """Render what Django's templates `select`, `select_option` and `attrs` render (5.2)."""
    widget = context["widget"]
    parts = [f'<select name="{_text(widget["name"])}"{_attributes(widget["attrs"])}>']
    for group, options, _index in widget["optgroups"]:
        parts += [f'\n  <optgroup label="{render_value_in_context(group, context)}">'] if group else []
        for option in options:
            label = render_value_in_context(option["label"], context)
            parts.append(
                f'\n  <option value="{_text(option["value"])}"{_attributes(option["attrs"])}>{label}</option>\n'
            )
        parts += ["\n  </optgroup>"] if group else []
    return "".join([*parts, "\n</select>\n"])


def _attributes(attributes: Mapping[str, Any]) -> str:
    return "".join(
        f" {name}" if value is True else f' {name}="{_text(value)}"'
        for name, value in attributes.items()
        if value is not False
    )


def _text(value: object) -> str:
    return str(value) if isinstance(value, SafeData) else escape(str(value))
