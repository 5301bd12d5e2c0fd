"""Explanation of a failure: what happened, who can fix it, where to click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from django.utils.translation import gettext as _

from integrations.clients.errors import Explanation
from integrations.clients.wecom import errcodes
from integrations.core import guides

E = TypeVar("E", bound=Explanation)


def translated(english: E, facts: Mapping[str, Any] | None = None) -> E:
    """`english` in the active language. `facts`: what its sentences have places for; None where they have no place."""
    what, who, where = (_(text) if text else "" for text in (english.what, english.who, english.where))
    if facts is not None:
        what, who, where = what % facts, who % facts, where % facts
    guide = guides.address("errors", english.guide) if english.guide else ""
    return replace(english, what=what, who=who, where=where, guide=guide)


def of_errcode(code: int, *, operation: str = "") -> Explanation:
    """What an error code of WeCom means. `operation`: the call that was refused, where it is known."""
    return translated(errcodes.explain(code, operation=operation))


def unqueued() -> Explanation:
    """Why work in the background does not begin."""
    return Explanation(
        _("The queue cannot be reached: is Valkey running?"),
        _("The administrator of this site."),
        _("Start Valkey, then try again. The health page /healthz says what does not answer."),
    )
