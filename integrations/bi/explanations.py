"""Explanations of what a test of the BI found, and of what keeps a person out, in the active language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations.bi.sso import Obstacle

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

STEPS: dict[str, _StrPromise] = {
    "address": gettext_lazy("Address"),
    "token": gettext_lazy("Sign-in token"),
    "api": gettext_lazy("API user"),
    "pages": gettext_lazy("App token"),
}
TONES = {"ok": "good", "unclear": "quiet", "warning": "warn", "wrong": "bad"}
# Where the BI asks for the public key, in its own words.
PLACE_OF_KEY = "管理中心 → 系统集成 → 单点登录"


@dataclass(frozen=True, slots=True)
class ExplainedFinding:
    """One finding as the page shows it. `tone`: good, quiet, warn or bad."""

    label: str
    tone: str
    sentence: str


def explain_findings(findings: list[dict[str, Any]]) -> list[ExplainedFinding]:
    """Explain the findings that a test left, in their order. One whose sentence is gone is left out."""
    known = _word_outcomes()
    return [
        ExplainedFinding(
            str(STEPS[one["step"]]), TONES[one["status"]], known[one["step"], one["outcome"]] % one["facts"]
        )
        for one in findings
        if (one.get("step"), one.get("outcome")) in known
    ]


def explain_obstacle(found: Obstacle, missing: str = "") -> str:
    """Say why an administrator who tests is not passed on."""
    return _word_obstacles()[found] % {"missing": missing}


def _word_obstacles() -> dict[Obstacle, str]:
    return {
        Obstacle.OFF: _("Sign-in to the BI is switched off."),
        Obstacle.NO_ADDRESS: _("The address of the BI is missing. Enter and save it above."),
        Obstacle.NO_KEY: _("There is no key pair yet. Generate one, and paste its public key into the BI."),
        Obstacle.KEY_UNREADABLE: _(
            "The saved private key cannot be read: a key is missing in FIELD_ENCRYPTION_KEYS. Restore it, or generate "
            "a new pair and paste its public key into the BI."
        ),
        Obstacle.NO_SOURCE: _(
            "What says who somebody is in the BI does not exist any more. Choose another value above and save."
        ),
        Obstacle.NO_EXTERNAL_ID: _(
            "Your own user has no “%(missing)s” that is yours alone. Set it on your user's page, then test again."
        ),
        Obstacle.NO_PAGE: _("There is no such page."),
    }


def _word_outcomes() -> dict[tuple[str, str], str]:
    failed = _word_obstacles()
    return {
        ("address", "not-queued"): _("The test could not begin: the queue cannot be reached. Check that Valkey runs."),
        ("address", "missing"): failed[Obstacle.NO_ADDRESS],
        ("address", "reached"): _("The BI answers (HTTP %(status)s)."),
        ("address", "server-error"): _("The BI answers with an error of its own (HTTP %(status)s)."),
        ("address", "unreachable"): _(
            "This server does not reach the BI: %(reason)s. Check the address, the firewall and the proxy. People "
            "whose browsers reach it can still enter."
        ),
        ("address", "not-usable"): _(
            "The BI cannot be asked: %(reason)s. Check the address, the proxy and the CA bundle."
        ),
        ("address", "clocks"): _(
            "The clocks of this server and of the BI differ by %(seconds)s seconds, and a token lives %(life)s: the BI "
            "takes it for expired. Set the clocks (NTP), or let tokens live longer."
        ),
        ("token", "no-answer"): _("The BI gave no answer to a token: %(reason)s."),
        ("token", "refused"): _(
            "The BI refuses a token for “%(as)s” (HTTP %(status)s). The usual reasons: the public key there is not the "
            "one here, the name of the provider differs, or no account there is called so."
        ),
        ("token", "not-taken"): _(
            "The BI does not take the address with a token (HTTP %(status)s). Check the first page and the name of the "
            "provider."
        ),
        ("token", "not-refused"): _(
            "The BI does not refuse a token for “%(as)s” (HTTP %(status)s). Some versions show their sign-in page with "
            "the same answer: look with the button above whether you are signed in."
        ),
        **{("token", found.value): words % {"missing": "externalUserId"} for found, words in failed.items()},
        ("api", "accepted"): _("The BI signs the API user in."),
        ("api", "refused"): _("The BI refuses the API user: %(message)s"),
        ("pages", "accepted"): _("The app token lists %(count)s pages."),
        ("pages", "refused"): _("The BI refuses the app token: %(message)s"),
    }
