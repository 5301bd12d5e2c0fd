"""Whether each verification file answers at its public address."""

from __future__ import annotations

from django.utils import timezone

from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies import links, verification_files
from integrations.companies.diagnosis.findings import Check, Finding, Question, ok, skip, wrong
from integrations.models import Corp, VerificationFile

NAME = "verification_file"
Outcome = VerificationFile.Outcome


def run(question: Question) -> Finding:
    names: list[str] = []
    for file in VerificationFile.objects.filter(corp=question.corp):
        verification_files.check_now(file_id=file.pk, clock=timezone.now)
        file.refresh_from_db()
        if file.outcome != Outcome.FOUND:
            return wrong(file.outcome, {"file": file.name, "url": file.checked_url}, detail=file.detail)
        names.append(file.name)
    return ok("found", {"files": ", ".join(names)}) if names else skip("no_file")


def subject(corp: Corp) -> str:
    """The address under which the files are looked for, and their codes."""
    codes = sorted(corp.verification_files.values_list("code", flat=True))
    return " ".join([links.site_address_for(corp).url, *codes])


CHECK = Check(
    name=NAME,
    label=_("Verification file"),
    purpose=_("Fetches each verification file at the public address, as WeCom does."),
    run=run,
    subject=subject,
    explanations={
        "found": Explanation(
            _("Answers rightly at the public address, as seen from this server: %(files)s. WeCom comes from outside.")
        ),
        "no_file": Explanation(
            _("No verification file is uploaded. WeCom asks for one before it accepts the trusted domain."),
            WECOM_ADMIN,
            _("WeCom's console → the app → Web authorisation and JS-SDK → apply for verification; upload the file."),
        ),
        **verification_files.EXPLANATIONS,
    },
)
