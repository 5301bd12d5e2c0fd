"""Whether each verification file answers at its public address."""

from __future__ import annotations

from django.utils import timezone

from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import NETWORK_ADMIN, WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies import links, verification_files
from integrations.companies.diagnosis.findings import Check, Finding, Question, ok, skipped, wrong
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
    return ok("found", {"files": ", ".join(names)}) if names else skipped("no_file")


def subject(corp: Corp) -> str:
    """The address under which the files are looked for, and their codes."""
    codes = sorted(corp.verification_files.values_list("code", flat=True))
    return " ".join([links.site_address_for(corp).url, *codes])


_PROXY = _("Let the reverse proxy pass /WW_verify_*.txt on to this site, with its Host header as it comes.")
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
        Outcome.WRONG_CONTENT.value: Explanation(
            _("Something else answers at %(url)s: a login page, another server, or a copy of the file."),
            NETWORK_ADMIN,
            _PROXY,
        ),
        Outcome.WRONG_STATUS.value: Explanation(
            _("%(url)s answers, but not with the file: the request does not arrive at this site."),
            NETWORK_ADMIN,
            _PROXY,
        ),
        Outcome.REDIRECTED.value: Explanation(
            _("%(url)s sends the visitor elsewhere. WeCom looks for the file at this very address."),
            NETWORK_ADMIN,
            _(
                "If it leads from http:// to https://, save the site address with https://. "
                "Otherwise exempt /WW_verify_*.txt from the redirection."
            ),
        ),
        Outcome.UNTRUSTED.value: Explanation(
            _("The certificate of %(url)s is not trusted."),
            NETWORK_ADMIN,
            _("Install a valid certificate of a public authority for this host name, with its intermediate ones."),
        ),
        Outcome.UNREACHABLE.value: Explanation(
            _("%(url)s cannot be reached from this server, or did not answer in time."),
            NETWORK_ADMIN,
            _("Check the DNS entry of the host name, the firewall and the reverse proxy."),
        ),
    },
)
