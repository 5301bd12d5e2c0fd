"""Reads a configuration: what it would change, and changes it in one transaction. It deletes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.audit import services
from accounts.models import AuditEntry
from guanwecom.operations.configuration import rows
from guanwecom.operations.configuration.export import FORMAT
from guanwecom.operations.configuration.kinds import KINDS, Kind
from guanwecom.operations.configuration.rows import Change, Item
from guanwecom.operations.configuration.values import MissingError, Names
from integrations.models import DEFAULT_SITE_ADDRESS, SiteAddress

# What stands in the file beside the sections.
_OTHERS = {"format", "version"}


class UnreadableError(Exception):
    """The text is no configuration; the sentence says why."""


@dataclass
class Result:
    """`problems`: conflicts; with any of them nothing was written. `left_out`: people and departments that are missing.
    `to_enter`: secrets that somebody enters by hand."""

    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    to_enter: list[str] = field(default_factory=list)

    @property
    def changed(self) -> list[Item]:
        return [item for item in self.items if item.change is not Change.NONE]


def load(text: str, *, writes: bool, leaves_out_people: bool = False) -> Result:
    """Compare with what is there, and write if `writes` and nothing conflicts.

    `leaves_out_people`: people and departments that are missing are left out, with rows that cannot be without them,
    instead of being conflicts. Raises UnreadableError.
    """
    document = _document(text)
    result = Result()
    with transaction.atomic():
        names = Names()
        _make_room(document)
        for kind in KINDS:
            for name, values in (document.get(kind.section) or {}).items():
                _load_row(kind, str(name), values, names, result, leaves_out_people)
        if result.problems or not writes:
            transaction.set_rollback(True)
        elif result.changed:
            note = f"Configuration imported: {len(result.changed)} rows"
            services.record(action=AuditEntry.Action.DONE, note=note)
    return result


def _document(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise UnreadableError(f"The file is no YAML{where}.") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnreadableError(f"The file is no configuration of guanwecom in the format {FORMAT}.")
    sections = {kind.section for kind in KINDS}
    unknown = sorted(str(name) for name in document.keys() - sections - _OTHERS)
    if unknown:
        raise UnreadableError(f"Unknown sections: {', '.join(unknown)}.")
    for name in document.keys() & sections:
        found = document[name] or {}
        if not isinstance(found, dict) or not all(isinstance(values, dict) for values in found.values()):
            raise UnreadableError(f"The section {name} does not hold rows by their names.")
    return document


def _make_room(document: dict[str, Any]) -> None:
    """One site address is the default: the file's takes the place of a new installation's."""
    addresses: dict[str, dict[str, Any]] = document.get("site_addresses") or {}
    default = next((url for url, values in addresses.items() if values.get("is_default")), None)
    if default is None or SiteAddress.objects.filter(url=default, is_default=True).exists():
        return
    is_renamed = DEFAULT_SITE_ADDRESS not in addresses and not SiteAddress.objects.filter(url=default).exists()
    for former in SiteAddress.objects.filter(is_default=True):
        if is_renamed and former.url == DEFAULT_SITE_ADDRESS:
            former.url = default
        else:
            former.is_default = False
        former.save()  # writes the audit trail


def _load_row(
    kind: Kind, name: str, values: dict[str, Any], names: Names, result: Result, leaves_out_people: bool
) -> None:
    what = f"{kind.section}: {name}"

    def pass_over(error: MissingError) -> bool:
        if error.is_person and leaves_out_people:
            result.left_out.append(f"{what}: {error.what}")
        return error.is_person and leaves_out_people

    try:
        with transaction.atomic():
            item = rows.load(kind, name, values, names, pass_over, now=timezone.now())
    except MissingError as error:
        if error.is_person and leaves_out_people:  # it cannot be without
            result.left_out.append(f"{what}: the whole row, which needs {error.what}")
        else:
            result.problems.append(f"{what}: there is no {error.what}")
    except ValidationError as error:
        result.problems += [f"{what}: {text}" for text in rows.texts(error)]
    except IntegrityError:
        result.problems.append(f"{what}: another row has the same values where each may have them once")
    else:
        result.items.append(item)
        result.to_enter += [f"{what}: {label}" for label in item.secrets]
