"""Whether the certificate of WeCom's address is trusted, also behind a network that inspects TLS."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from cryptography import x509

from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import NETWORK_ADMIN, SITE_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import Check, Finding, Question, clip, ok, skip, warning, wrong
from integrations.core.client_factory import network_client

EXPIRES_SOON = timedelta(days=30)


def run(question: Question) -> Finding:
    corp = question.corp
    if urlsplit(corp.api_base_url).scheme != "https":
        return skip("not_encrypted")
    journey = network_client(corp).travel()
    if journey.is_certificate_refused:
        problem = "own_authority" if corp.ca_bundle else "untrusted"
        return wrong(problem, {"reason": journey.reason}, detail=f"tls: {journey.reason}")
    if journey.failed_at == "tls":
        return wrong("no_tls", {"reason": journey.reason}, detail=f"tls: {journey.reason}")
    if journey.failed_at:
        return skip("blocked", {"by": "network"})
    return _of_bundle(question) if corp.ca_bundle else ok("trusted")


def _of_bundle(question: Question) -> Finding:
    """The private authority works; it is named, with the day on which its first certificate ends."""
    certificates = x509.load_pem_x509_certificates(question.corp.ca_bundle.encode())
    first = min(certificates, key=lambda one: one.not_valid_after_utc)
    facts = {
        "authority": clip(first.subject.rfc4514_string(), 255),
        "ends": first.not_valid_after_utc.strftime("%Y-%m-%d"),
    }
    if first.not_valid_after_utc - question.now < EXPIRES_SOON:
        return warning("ends_soon", facts)
    return ok("private", facts)


CHECK = Check(
    name="certificate",
    label=_("Certificate"),
    purpose=_("Looks whether the certificate of the API address is trusted: by the usual authorities, or your own."),
    run=run,
    explanations={
        "not_encrypted": Explanation(_("The API address is plain http on this machine: there is no certificate.")),
        "trusted": Explanation(_("The certificate is trusted.")),
        "private": Explanation(
            _("The certificate is trusted through your own authority %(authority)s, valid to %(ends)s.")
        ),
        "ends_soon": Explanation(
            _("Your own authority %(authority)s ends on %(ends)s; WeCom is then no longer reached."),
            SITE_ADMIN,
            _("Paste its next certificate into “CA bundle” under “Advanced”."),
        ),
        "untrusted": Explanation(
            _("The certificate is not trusted: %(reason)s. A device of your network may be reading along."),
            NETWORK_ADMIN,
            _("Have WeCom exempted from inspection, or paste the authority of that device into “CA bundle”."),
        ),
        "own_authority": Explanation(
            _("The certificate is not one of your own authority: %(reason)s."),
            SITE_ADMIN,
            _("Empty “CA bundle” under “Advanced”, or paste the certificates of the right authority."),
        ),
        "no_tls": Explanation(
            _("No encryption comes about: %(reason)s."),
            NETWORK_ADMIN,
            _("Something other than WeCom answers there. Check the API address, the firewall and the proxy."),
        ),
    },
)
