"""What a person reads of something that went wrong: what happened, who can fix it, where to click."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _


@dataclass(frozen=True)
class Explanation:
    """Translated sentences, empty where there is nothing to say."""

    what: str
    who: str = ""
    where: str = ""


def unqueued() -> Explanation:
    """Why work in the background does not begin, in the active language."""
    return Explanation(
        _("The queue cannot be reached: is Valkey running?"),
        _("The administrator of this site."),
        _("Start Valkey, then try again. The health page /healthz says what does not answer."),
    )
