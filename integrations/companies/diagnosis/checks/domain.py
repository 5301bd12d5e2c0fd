"""Whether the app's trusted domain in WeCom is ours; sign-in is refused for every other one."""

from __future__ import annotations

from urllib.parse import urlsplit

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import TO_TRUSTED_DOMAIN, WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies import links
from integrations.companies.diagnosis.findings import Check, Finding, Question, clip, judge_error, ok, wrong
from integrations.core.client_factory import wecom_client

NAME = "domain"


def run(question: Question) -> Finding:
    corp = question.corp
    try:
        agent = wecom_client(corp).agent_get()
    except IntegrationError as error:
        return judge_error(error, check_name=NAME)
    ours = links.trusted_domain(corp)
    facts = {"ours": ours, "theirs": clip(agent.redirect_domain.strip(), 255)}
    problem = mistake(ours=ours, theirs=agent.redirect_domain)
    return wrong(problem, facts) if problem else ok("equal", facts)


def mistake(*, ours: str, theirs: str) -> str:
    """What is wrong with the domain that WeCom has; empty where it is ours. Capital letters do not matter."""
    found = theirs.strip().lower()
    if found == ours.lower():
        return ""
    if not found:
        return "missing"
    if "://" in found:
        return "scheme"
    if "/" in found or "?" in found:
        return "path"
    if "_" in found:
        return "underscore"
    return "port" if _host(found) == _host(ours.lower()) else "other"


def _host(domain: str) -> str | None:
    try:
        return urlsplit(f"//{domain}").hostname
    except ValueError:
        return None


CHECK = Check(
    name=NAME,
    label=_("Trusted domain"),
    purpose=_("Compares the app's trusted domain in WeCom with the domain of this site."),
    run=run,
    subject=links.trusted_domain,
    explanations={
        "equal": Explanation(_("The trusted domain in WeCom is %(ours)s, as it should be.")),
        "missing": Explanation(
            _("The app has no trusted domain in WeCom: sign-in is refused."), WECOM_ADMIN, TO_TRUSTED_DOMAIN
        ),
        "scheme": Explanation(
            _("The trusted domain in WeCom, %(theirs)s, has http:// or https:// in front. Enter the domain alone."),
            WECOM_ADMIN,
            TO_TRUSTED_DOMAIN,
        ),
        "path": Explanation(
            _("The trusted domain in WeCom, %(theirs)s, has something behind the host. Enter the domain alone."),
            WECOM_ADMIN,
            TO_TRUSTED_DOMAIN,
        ),
        "port": Explanation(
            _("The trusted domain in WeCom, %(theirs)s, has another port than %(ours)s. Port and host must be equal."),
            WECOM_ADMIN,
            TO_TRUSTED_DOMAIN,
        ),
        "underscore": Explanation(
            _("The trusted domain in WeCom, %(theirs)s, has an underscore, which WeCom does not redirect to."),
            WECOM_ADMIN,
            TO_TRUSTED_DOMAIN,
        ),
        "other": Explanation(
            _("The trusted domain in WeCom is %(theirs)s; this site is %(ours)s."), WECOM_ADMIN, TO_TRUSTED_DOMAIN
        ),
    },
    copied="ours",
)
