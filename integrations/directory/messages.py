"""Texts about a run, in the active language: why it stopped, what it asks, what was odd."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from integrations.clients.explanations import Explanation
from integrations.core.explanations import of_errcode
from integrations.models import SyncRun

# By kind; the number chooses the form.
_WARNINGS = {
    "cycle": ngettext_lazy(
        "%(count)d department stands below itself: %(examples)s.",
        "%(count)d departments stand below themselves: %(examples)s.",
        "count",
    ),
    "orphan": ngettext_lazy(
        "%(count)d department has a parent that WeCom did not list: %(examples)s.",
        "%(count)d departments have parents that WeCom did not list: %(examples)s.",
        "count",
    ),
    "spelling": ngettext_lazy(
        "%(count)d userid came in two spellings and was taken for one person: %(examples)s.",
        "%(count)d userids came in two spellings and were taken for one person each: %(examples)s.",
        "count",
    ),
    "userid": ngettext_lazy(
        "%(count)d entry was left out because its userid cannot be one: %(examples)s.",
        "%(count)d entries were left out because their userids cannot be ones: %(examples)s.",
        "count",
    ),
    "tag": ngettext_lazy(
        "%(count)d tag of the app's visible scope could not be read: %(examples)s.",
        "%(count)d tags of the app's visible scope could not be read: %(examples)s.",
        "count",
    ),
    "named_but_gone": ngettext_lazy(
        "The app's visible scope names %(count)d person who does not exist: %(examples)s.",
        "The app's visible scope names %(count)d people who do not exist: %(examples)s.",
        "count",
    ),
    "moved_meanwhile": ngettext_lazy(
        "%(count)d person moved while the lists were read, and was found: %(examples)s.",
        "%(count)d people moved while the lists were read, and were found: %(examples)s.",
        "count",
    ),
    "reappeared": ngettext_lazy(
        "%(count)d userid that had been deleted came back and waits for an administrator: %(examples)s.",
        "%(count)d userids that had been deleted came back and wait for an administrator: %(examples)s.",
        "count",
    ),
    "not_shown": ngettext_lazy(
        "%(count)d more person went missing after the question and was left alone; the next run looks again: "
        "%(examples)s.",
        "%(count)d more people went missing after the question and were left alone; the next run looks again: "
        "%(examples)s.",
        "count",
    ),
    "nobody": gettext_lazy("WeCom named no member at all. Does the app's visible scope hold anybody?"),
}
_OTHER_WARNING = gettext_lazy("Warnings: %(examples)s.")


def explanation(run: SyncRun) -> Explanation:
    """Why a run stopped or waits for its next try: what happened, who can fix it, where. Empty where it did not."""
    if not run.problem:
        return Explanation("")
    if run.problem in {"wecom", "unreachable"} and run.errcode is not None:
        return of_errcode(run.errcode)
    say = _PROBLEMS.get(run.problem, _broken)
    return say(run)


def question(run: SyncRun) -> list[str]:
    """Why a run asks before it goes on, as sentences; none where it does not ask."""
    facts = run.question
    if not facts:
        return []
    sentences = [
        ngettext(
            "%(leaving)d of %(of)d person who can sign in now would lose access.",
            "%(leaving)d of %(of)d people who can sign in now would lose access.",
            facts["of"],
        )
        % facts
    ]
    if facts["reason"] == "share":
        sentences.append(_("That is more than the %(percent)d %% that may be disabled without asking.") % facts)
    if facts["roots"]:
        roots = _("Of these departments nobody would be left: %(roots)s.")
        sentences.append(roots % {"roots": _listed(facts["roots"])})
    sentences.append(
        _("Nothing is changed yet. Usual causes: the app's visible scope was changed, or WeCom answered in part.")
    )
    return sentences


def warnings(run: SyncRun) -> list[str]:
    """What was odd, one sentence for each kind."""
    return [_warning(one["code"], one["count"], one["examples"]) for one in run.warnings]


def _warning(code: str, count: int, examples: list[str]) -> str:
    text = _WARNINGS.get(code, _OTHER_WARNING)
    return text % {"count": count, "examples": _listed(examples)}


def _listed(examples: list[str]) -> str:
    return _(", ").join(examples)


def _unreachable(_run: SyncRun) -> Explanation:
    return Explanation(
        _("WeCom could not be reached, several times in a row. Nobody was disabled."),
        _("The administrator of this server's network."),
        _("Open the company's page and run the diagnosis."),
    )


def _wecom(_run: SyncRun) -> Explanation:
    return Explanation(
        _("WeCom's answer was not what it should be. Nobody was disabled."),
        _("The support of this product: this is a mistake of the program."),
        _("Synchronise again; if it stops again, send the technical detail to support."),
    )


def _not_wecom(_run: SyncRun) -> Explanation:
    return Explanation(
        _("What answered is not WeCom: a login page of the network, a proxy or another server. Nobody was disabled."),
        _("The administrator of this server's network."),
        _("Check the API address and the proxy on the company's page under “Advanced”; the detail below shows what "
          "answered."),
    )  # fmt: skip


def _wrong_setting(_run: SyncRun) -> Explanation:
    return Explanation(
        _("The API address, the proxy, the CA bundle or an encryption key is wrong. Nobody was disabled."),
        _("The administrator of this site."),
        _("Check the fields under “Advanced” on the company's page, and run the diagnosis there."),
    )


def _changed_meanwhile(_run: SyncRun) -> Explanation:
    return Explanation(
        _("The directory or the app's visible scope changed while it was read. Nobody was disabled."),
        _("Nobody: it passes by itself."),
        _("Synchronise again in a few minutes."),
    )


def _root(run: SyncRun) -> Explanation:
    return Explanation(
        _("Department %(number)s, one of the department roots, does not exist or is not visible to the app. "
          "Nobody was disabled.") % {"number": run.detail},
        _("The administrator of this site."),
        _("System integration → WeCom configuration → the company: correct the department roots; or add the department "
          "to the app's visible scope in WeCom's console."),
    )  # fmt: skip


def _too_long(_run: SyncRun) -> Explanation:
    return Explanation(
        _("It was begun again and again and did not end for hours."),
        _("The administrator of this site."),
        _("Look at the workers' log: were they stopped, or short of memory? Then synchronise again."),
    )


def _broken(_run: SyncRun) -> Explanation:
    return Explanation(
        _("The program made a mistake. Nobody was disabled beyond what the run shows as written."),
        _("The support of this product: this is a mistake of the program."),
        _("Send the technical detail and the workers' log to support."),
    )


_PROBLEMS: dict[str, Callable[[SyncRun], Explanation]] = {
    "unreachable": _unreachable,
    "wecom": _wecom,
    "not_wecom": _not_wecom,
    "wrong_setting": _wrong_setting,
    "changed_meanwhile": _changed_meanwhile,
    "root": _root,
    "too_long": _too_long,
}
