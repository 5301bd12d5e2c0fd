"""Whether WeCom takes the domain for the company's own (85005, 85008).

WeCom tells it in one place only: in its answer to agent/set, when a trusted domain is written. A diagnosis changes
nothing in WeCom, so this check writes nothing: it goes by the last such answer (`note_answer`), and by the verification
file, without which WeCom never finds the domain to be ours.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies import links
from integrations.companies.diagnosis.findings import Check, Finding, Question, Status, ok, skip
from integrations.models import CheckRun, Corp, VerificationFile

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from integrations.clients.errors import IntegrationError

NAME = "ownership"
UNVERIFIED, NO_FILING, OF_A_PROVIDER, WRONG_DOMAIN = 85005, 85008, 85111, 80001
REFUSALS = {
    UNVERIFIED: "unverified",
    NO_FILING: "no_filing",
    WRONG_DOMAIN: "no_filing",
    OF_A_PROVIDER: "of_a_provider",
}
# The specification's two pages: for the company's own domain, and for one of an associated company.
OWN_DOMAIN_PAGE = "https://open.work.weixin.qq.com/help2/pc/15023?person_id=1"
ASSOCIATED_PAGE = "https://open.work.weixin.qq.com/wwopen/common/readDocument/40754"


def run(question: Question) -> Finding:
    corp, domain = question.corp, links.trusted_domain(question.corp)
    known = _last_answer(question)
    found = VerificationFile.objects.filter(corp=corp, outcome=VerificationFile.Outcome.FOUND)
    if known is not None and known.errcode is not None:
        said_at = _said_at(known)
        # Why by time, and for one code only? A file put there since is what that refusal asked for, and no other.
        if known.errcode == UNVERIFIED and found.filter(uploaded_at__gt=said_at).exists():
            return Finding(Status.WARNING, "file_since", _facts(domain, said_at), known.errcode, known.hint)
        return _of_code(known.errcode, domain, hint=known.hint, said_at=said_at)
    if known is not None:
        return ok("accepted", {"domain": domain})
    if found.filter(checked_url__startswith=links.site_address_for(corp).url).exists():
        return ok("file", {"domain": domain})
    return skip("unknown", {"domain": domain})


def _said_at(known: CheckRun) -> datetime:
    """When WeCom gave the answer: each run that only repeats it keeps the time."""
    with suppress(KeyError, TypeError, ValueError):
        return datetime.fromisoformat(known.facts["said_at"])
    return known.requested_at


def note_answer(*, corp: Corp, error: IntegrationError | None, now: datetime) -> CheckRun | None:
    """Keep what WeCom answered when the trusted domain was written: `error` None when it took the domain.

    Returns None for an error that says nothing of the domain.
    """
    domain = links.trusted_domain(corp)
    if error is None:
        finding = ok("accepted", {"domain": domain})
    elif error.code in REFUSALS:
        finding = _of_code(error.code, domain, hint=error.hint[:64], said_at=now)
    else:
        return None
    return CheckRun.objects.create(
        corp=corp,
        check_name=NAME,
        connection_version=corp.connection_version,
        subject=domain,
        status=finding.status,
        problem=finding.problem,
        errcode=finding.errcode,
        hint=finding.hint,
        facts=dict(finding.facts),
        requested_at=now,
        started_at=now,
        finished_at=now,
        try_count=1,
    )


def is_refused(corp: Corp) -> bool:
    """Whether WeCom has last refused the domain that is ours today."""
    known = _answers(corp, links.trusted_domain(corp)).first()
    return known is not None and known.errcode is not None


def _last_answer(question: Question) -> CheckRun | None:
    """The last run that carries an answer of WeCom about this very domain."""
    return _answers(question.corp, question.subject).exclude(pk=question.run_id).first()


def _answers(corp: Corp, domain: str) -> QuerySet[CheckRun]:
    runs = CheckRun.objects.filter(corp=corp, check_name=NAME, subject=domain)
    return runs.filter(problem__in=[*REFUSALS.values(), "file_since", "accepted"])


def _of_code(code: int, domain: str, *, hint: str, said_at: datetime) -> Finding:
    return Finding(Status.WRONG, REFUSALS[code], _facts(domain, said_at), errcode=code, hint=hint)


def _facts(domain: str, said_at: datetime) -> dict[str, str]:
    return {"domain": domain, "said_at": said_at.isoformat()}


_WHERE = _(
    "Your company's own domain: WeCom's console → App management → the app → Web authorisation and JS-SDK → apply for "
    "verification, upload the file here, then verify. A domain of an associated company: have the association "
    "certified by WeCom. Both ways are described on the two pages below."
)
CHECK = Check(
    name=NAME,
    label=_("Domain ownership"),
    purpose=_("Judges by WeCom's answer when the domain was last written, and by the verification file."),
    run=run,
    subject=links.trusted_domain,
    explanations={
        "accepted": Explanation(_("WeCom took %(domain)s as trusted domain when it was written.")),
        "file": Explanation(_("The verification file is at its place, and WeCom has not refused %(domain)s.")),
        "unknown": Explanation(
            _(
                "WeCom tells whether %(domain)s is verified only when the domain is written; nothing is known yet, and "
                "no verification file has been found at the public address."
            ),
            WECOM_ADMIN,
            _WHERE,
        ),
        "file_since": Explanation(
            _("WeCom refused %(domain)s as not verified (85005); a verification file was put in its place since then."),
            WECOM_ADMIN,
            _("Have the domain verified in WeCom's console, then write the trusted domain from this page once more."),
        ),
        "unverified": Explanation(
            _("WeCom says that the ownership of %(domain)s is not verified (85005)."), WECOM_ADMIN, _WHERE
        ),
        "no_filing": Explanation(
            _(
                "WeCom says that %(domain)s has no ICP filing of this company or an associated one: it must be a "
                "domain of your own company or of an associated company."
            ),
            WECOM_ADMIN,
            _WHERE,
        ),
        "of_a_provider": Explanation(
            _("WeCom says that %(domain)s belongs to a service provider. Use a domain of your own company."),
            WECOM_ADMIN,
            _WHERE,
        ),
    },
    copied="domain",
    help_links=(OWN_DOMAIN_PAGE, ASSOCIATED_PAGE),
)
