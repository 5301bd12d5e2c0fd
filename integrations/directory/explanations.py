"""Explanations of a directory run: why it stopped, what it asks, what was odd."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext, ngettext_lazy

from integrations.clients.errors import Explanation
from integrations.clients.wecom.errcodes.entry import NETWORK_ADMIN, NOBODY, SITE_ADMIN, SUPPORT
from integrations.core.explanations import of_errcode, translated
from integrations.models import SyncRun

# What a run may store as its problem. `number`: the department that the run names.
_PROBLEMS = {
    "unreachable": Explanation(
        gettext_noop("WeCom could not be reached, several times in a row. Nobody was disabled."),
        NETWORK_ADMIN,
        gettext_noop("Open the company's page and run the diagnosis."),
    ),
    "wecom": Explanation(
        gettext_noop("WeCom's answer was not what it should be. Nobody was disabled."),
        SUPPORT,
        gettext_noop("Synchronise again; if it stops again, send the technical detail to support."),
    ),
    "not_wecom": Explanation(
        gettext_noop(
            "What answered is not WeCom: a login page of the network, a proxy or another server. Nobody was disabled."
        ),
        NETWORK_ADMIN,
        gettext_noop(
            "Check the API address and the proxy on the company's page under “Advanced”; the detail below shows what "
            "answered."
        ),
    ),
    "wrong_setting": Explanation(
        gettext_noop("The API address, the proxy, the CA bundle or an encryption key is wrong. Nobody was disabled."),
        SITE_ADMIN,
        gettext_noop("Check the fields under “Advanced” on the company's page, and run the diagnosis there."),
    ),
    "changed_meanwhile": Explanation(
        gettext_noop("The directory or the app's visible scope changed while it was read. Nobody was disabled."),
        NOBODY,
        gettext_noop("Synchronise again in a few minutes."),
    ),
    "root": Explanation(
        gettext_noop(
            "Department %(number)s, one of the department roots, does not exist or is not visible to the app. "
            "Nobody was disabled."
        ),
        SITE_ADMIN,
        gettext_noop(
            "System integration → WeCom configuration → the company: correct the department roots; or add the "
            "department to the app's visible scope in WeCom's console."
        ),
    ),
    "too_long": Explanation(
        gettext_noop("It was begun again and again and did not end for hours."),
        SITE_ADMIN,
        gettext_noop("Look at the workers' log: were they stopped, or short of memory? Then synchronise again."),
    ),
}
_BROKEN = Explanation(
    gettext_noop("The program made a mistake. Nobody was disabled beyond what the run shows as written."),
    SUPPORT,
    gettext_noop("Send the technical detail and the workers' log to support."),
)
# The sentence for each kind of warning; the number chooses its form.
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


def explain_run(run: SyncRun) -> Explanation:
    """Explain why a run stopped or waits for its next try; nothing where it did not."""
    if not run.problem:
        return Explanation("")
    if run.problem in {"wecom", "unreachable"} and run.errcode is not None:
        return of_errcode(run.errcode)
    return translated(_PROBLEMS.get(run.problem, _BROKEN), {"number": run.detail})


def word_question(run: SyncRun) -> list[str]:
    """Say in sentences why a run asks before it goes on; none where it does not ask."""
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
        sentences.append(roots % {"roots": _(", ").join(facts["roots"])})
    sentences.append(
        _("Nothing is changed yet. Usual causes: the app's visible scope was changed, or WeCom answered in part.")
    )
    return sentences


def word_warnings(run: SyncRun) -> list[str]:
    """Say what was odd, one sentence for each kind."""
    return [
        _WARNINGS.get(one["code"], _OTHER_WARNING) % {"count": one["count"], "examples": _(", ").join(one["examples"])}
        for one in run.warnings
    ]
