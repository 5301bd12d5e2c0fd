"""What rests on a user attribute: higher apps say it, and an administrator reads it before one is deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.utils.translation import ngettext

from accounts.models import AttributeValue

if TYPE_CHECKING:
    from accounts.models import Attribute

AttributeUse = Callable[["Attribute"], list[str]]
_uses: list[AttributeUse] = []


def register_attribute_use(use: AttributeUse) -> None:
    """`use(attribute)` says in whole sentences what would change without it; called while the question is shown."""
    if use not in _uses:
        _uses.append(use)


def taken_away_with(attribute: Attribute) -> list[str]:
    """What deleting `attribute` takes away."""
    count = AttributeValue.objects.of(attribute).values("user").distinct().count()
    sentence = ngettext("The values of %(count)d person.", "The values of %(count)d people.", count)
    return [sentence % {"count": count}, *(said for use in _uses for said in use(attribute))]
