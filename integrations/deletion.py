"""What a deletion takes along, as the admin's page of confirmation lists it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.utils.text import capfirst

if TYPE_CHECKING:
    AdminBase = admin.ModelAdmin[Any]
else:
    AdminBase = admin.ModelAdmin


class NamedDeletions(AdminBase):
    """Leaves out the rows that only join two others, which Django makes and cannot name: each end is gone anyway."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        listed, counts, *more = cast("tuple[Any, ...]", super().get_deleted_objects(objs, request))
        joining = [model._meta for model in apps.get_models(include_auto_created=True) if model._meta.auto_created]
        beginnings = tuple(f"{capfirst(options.verbose_name)}: " for options in joining)
        plurals = {str(options.verbose_name_plural) for options in joining}
        kept = {name: count for name, count in counts.items() if str(name) not in plurals}
        return _without(listed, beginnings), kept, *more


def _without(listed: list[Any], beginnings: tuple[str, ...]) -> list[Any]:
    """The nested list without its texts that begin so, and without lists that are empty then."""
    found: list[Any] = []
    for one in listed:
        if isinstance(one, list):
            if inner := _without(one, beginnings):
                found.append(inner)
        elif not str(one).startswith(beginnings):
            found.append(one)
    return found
