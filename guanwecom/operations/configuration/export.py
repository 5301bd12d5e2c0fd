"""Writes the configuration."""

from __future__ import annotations

from typing import Any

import yaml
from django.conf import settings

from guanwecom.operations.configuration.kinds import KINDS, Kind
from guanwecom.operations.configuration.values import Names, written

FORMAT = 1
HEAD = (
    "# The configuration of guanwecom, without secrets: manage.py import_configuration reads it.\n"
    "# People are named by their user names, departments by company and number.\n"
)


# Unicode's other ends of lines, which YAML reads as spaces where they stand unquoted.
_RARE_BREAKS = frozenset("\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_escaped = not _RARE_BREAKS.isdisjoint(text)
    style = '"' if is_escaped else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.ignore_aliases = lambda *_arguments: True  # type: ignore[method-assign]  # equal lists are written twice


def export() -> str:
    """The whole configuration as YAML. Twice the same as long as nothing changes."""
    names = Names()
    document: dict[str, Any] = {"format": FORMAT, "version": settings.VERSION}
    document |= {kind.section: _section(kind, names) for kind in KINDS}
    return HEAD + yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)


def _section(kind: Kind, names: Names) -> dict[str, Any]:
    rows = kind.rows(kind.model._default_manager.order_by("pk"))
    return {names.of(row): written(row, kind, names) for row in rows}
