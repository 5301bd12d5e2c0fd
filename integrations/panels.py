"""What higher apps add to the page of a corp. They register in AppConfig.ready(): integrations imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.models import Corp

DisableEffect = Callable[["Corp"], list[str]]

_disable_effects: list[DisableEffect] = []


def register_disable_effect(effect: DisableEffect) -> None:
    """`effect` says in whole sentences what disabling a corp would do, with how many people or rows it concerns.

    Called while the confirmation page is shown, so it must be quick and must not write.
    """
    if effect not in _disable_effects:
        _disable_effects.append(effect)


def disable_effects(corp: Corp) -> list[str]:
    """The sentences of every registered effect, in the order of registration."""
    return [sentence for effect in _disable_effects for sentence in effect(corp)]
