"""Checks of this site's values in WeCom's console: domain, home page, verification file, ownership, callback."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from django.utils.crypto import get_random_string

from integrations import callbacks
from integrations.clients.wecom.errcodes import NETWORK_ADMIN, TO_TRUSTED_DOMAIN, WECOM_ADMIN
from integrations.clients.wecom.errcodes import gettext_noop as _
from integrations.companies import links
from integrations.companies.diagnosis.findings import (
    FACT_AT_MOST,
    Finding,
    Question,
    Status,
    ask_network_admin,
    ask_wecom_admin,
    check,
    clip,
    ok,
    skip,
    warning,
    wrong,
)
from integrations.companies.links import PageOutcome
from integrations.core.client_factory import callback_crypto, wecom_client
from integrations.models import CallbackEvent, CheckRun, Corp

if TYPE_CHECKING:
    from integrations.clients.errors import IntegrationError


@check(
    "domain",
    label=_("Trusted domain"),
    purpose=_("Compares the app's trusted domain in WeCom with the domain of this site."),
    subject=links.find_trusted_domain,
    explanations={
        "equal": _("The trusted domain in WeCom is %(ours)s, as it should be."),
    },
    problems={
        "missing": _("The app has no trusted domain in WeCom: sign-in is refused."),
        "scheme": _(
            "The trusted domain in WeCom, %(theirs)s, has http:// or https:// in front. Enter the domain alone."
        ),
        "path": _("The trusted domain in WeCom, %(theirs)s, has something behind the host. Enter the domain alone."),
        "port": _(
            "The trusted domain in WeCom, %(theirs)s, has another port than %(ours)s. Port and host must be equal."
        ),
        "underscore": _(
            "The trusted domain in WeCom, %(theirs)s, has an underscore, which WeCom does not redirect to."
        ),
        "other": _("The trusted domain in WeCom is %(theirs)s; this site is %(ours)s."),
    },
    fix=(WECOM_ADMIN, TO_TRUSTED_DOMAIN),
    copied_fact="ours",
)
def check_domain(question: Question) -> Finding:
    theirs = wecom_client(question.corp).agent_get().redirect_domain
    ours = links.find_trusted_domain(question.corp)
    facts = {"ours": ours, "theirs": clip(theirs.strip(), 255)}
    problem = find_domain_mistake(ours=ours, theirs=theirs)
    return wrong(problem, facts) if problem else ok("equal", facts)


def find_domain_mistake(*, ours: str, theirs: str) -> str:
    """Return the mistake in the domain that WeCom has; empty if it equals ours, ignoring case."""
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
    return "port" if _read_host(found) == _read_host(ours.lower()) else "other"


def _read_host(domain: str) -> str | None:
    try:
        return urlsplit(f"//{domain}").hostname
    except ValueError:
        return None


# The parts of the link to compare; redirect_uri may lead to any inner page.
_LINK_PARTS = ("appid", "agentid", "response_type", "scope")


def judge_home_page(corp: Corp, found: str) -> Finding:
    """Judge the home page in WeCom. Any inner page of this site is accepted."""
    ours = links.build_home_page_link(corp)
    theirs = found.strip()
    facts = {"ours": ours, "theirs": clip(theirs, FACT_AT_MOST)}
    if theirs == ours:
        return ok("equal", facts)
    if not theirs:
        return wrong("missing", facts)
    if not theirs.lower().startswith(("http://", "https://")):
        return wrong("no_scheme", facts)
    if theirs == links.build_plain_login_url(corp):
        return warning("plain", facts, heals=True)
    if not corp.sign_in_enabled:
        return wrong("other", facts)
    parts = _find_differing_parts(ours, theirs)
    return wrong("differs", {**facts, "parts": ", ".join(parts)}) if parts else ok("inner_page", facts)


def _find_differing_parts(ours: str, theirs: str) -> list[str]:
    """Name the differences between two home page links, other than the inner page."""
    try:
        left, right = urlsplit(ours), urlsplit(theirs)
        left_query, right_query = parse_qs(left.query), parse_qs(right.query)
    except ValueError:
        return ["address"]
    found = [] if left[:3] == right[:3] else ["address"]
    found += [name for name in _LINK_PARTS if left_query.get(name) != right_query.get(name)]
    # The query of redirect_uri holds the inner page; all else, and the domain, must be ours.
    left_uri, _mark, left_page = left_query.get("redirect_uri", [""])[0].partition("?")
    right_uris = right_query.get("redirect_uri", [""])
    right_uri, _mark, right_page = right_uris[0].partition("?")
    if len(right_uris) != 1 or left_uri != right_uri:
        found.append("redirect_uri")
    elif parse_qs(left_page).get("domain") != parse_qs(right_page).get("domain"):
        found.append("domain")
    return found + ([] if left.fragment == right.fragment else ["#wechat_redirect"])


@check(
    "home_page",
    label=_("Home page link"),
    purpose=_("Compares the app's home page in WeCom with the link that this site gives."),
    subject=links.build_home_page_link,
    explanations={
        "equal": _("The home page in WeCom is the link of this site."),
        "inner_page": _("The home page in WeCom is a link of this site, with an inner page of its own."),
    },
    problems={
        "missing": _("The app has no home page in WeCom: a tap on it leads nowhere."),
        "no_scheme": _("The home page in WeCom begins with neither http:// nor https://: %(theirs)s"),
        "plain": _(
            "The home page in WeCom is the plain login address. It signs people in inside WeCom, too, but with "
            "several companies they may have to choose theirs."
        ),
        "other": _("The home page in WeCom is another one: %(theirs)s"),
        "differs": _("The home page in WeCom differs from the link of this site in: %(parts)s. It is %(theirs)s"),
    },
    fix=(WECOM_ADMIN, _("WeCom's console → App management → the app → Workbench app home page: paste this link.")),
    copied_fact="ours",
)
def check_home_page(question: Question) -> Finding:
    return judge_home_page(question.corp, wecom_client(question.corp).agent_get().home_url)


# Explanations of a page that could not be fetched. `url`: its address.
_NOT_SERVED = {
    PageOutcome.UNTRUSTED.value: ask_network_admin(
        _("The certificate of %(url)s is not trusted."),
        _("Install a valid certificate of a public authority for this host name, with its intermediate ones."),
    ),
    PageOutcome.UNREACHABLE.value: ask_network_admin(
        _("%(url)s cannot be reached from this server, or did not answer in time."),
        _("Check the DNS entry of the host name, the firewall and the reverse proxy."),
    ),
}


def join_verification_codes(corp: Corp) -> str:
    """Return the site address and the codes of the files as one text, which is the subject of their check."""
    codes = sorted(file["code"] for file in corp.verification_files)
    return " ".join([corp.find_site_address().url, *codes])


@check(
    "verification_file",
    label=_("Verification file"),
    purpose=_("Fetches each verification file at the public address, as WeCom does."),
    subject=join_verification_codes,
    explanations={
        "found": _(
            "The public address returns the right content, as seen from this server: %(files)s. WeCom fetches it from "
            "outside."
        ),
        "no_file": ask_wecom_admin(
            _("No verification file is uploaded. WeCom asks for one before it accepts the trusted domain."),
            _("WeCom's console → the app → Web authorisation and JS-SDK → apply for verification; upload the file."),
        ),
        PageOutcome.REDIRECTED.value: ask_network_admin(
            _("%(url)s redirects to another address. WeCom looks for the file at this address only."),
            _(
                "If it leads from http:// to https://, save the site address with https://. "
                "Otherwise exempt /WW_verify_*.txt from the redirection."
            ),
        ),
        **_NOT_SERVED,
    },
    problems={
        PageOutcome.WRONG_CONTENT.value: _(
            "Something else answers at %(url)s: a login page, another server, or a copy of the file."
        ),
        PageOutcome.WRONG_STATUS.value: _(
            "%(url)s answers, but not with the file: the request does not arrive at this site."
        ),
    },
    fix=(
        NETWORK_ADMIN,
        _("Let the reverse proxy pass /WW_verify_*.txt on to this site, with its Host header as it comes."),
    ),
)
def check_verification_files(question: Question) -> Finding:
    site, names = question.corp.find_site_address(), []
    for code in (file["code"] for file in question.corp.verification_files):
        names.append(links.name_verification_file(code))
        url = links.build_verification_file_url(site, code)
        outcome, detail = links.judge_public_page(url, code.encode())
        if outcome != PageOutcome.FOUND:
            return wrong(outcome, {"file": names[-1], "url": url}, detail=clip(detail))
    return ok("found", {"files": ", ".join(names)}) if names else skip("no_file")


# --- Domain ownership -------------------------------------------------------------------------------------------------
#
# WeCom shows only in its answer to agent/set, when a trusted domain is written, whether the domain is the company's
# own. A diagnosis writes nothing to WeCom, so this check uses the last such answer (`note_domain_answer`) and the
# verification file, without which WeCom never accepts the domain as ours.

UNVERIFIED, NO_FILING, OF_A_PROVIDER, WRONG_DOMAIN = 85005, 85008, 85111, 80001  # error codes of WeCom
DOMAIN_REFUSALS = {
    UNVERIFIED: "unverified",
    NO_FILING: "no_filing",
    WRONG_DOMAIN: "no_filing",
    OF_A_PROVIDER: "of_a_provider",
}
# WeCom's pages on the company's own domain, and on one of an associated company.
OWN_DOMAIN_PAGE = "https://open.work.weixin.qq.com/help2/pc/15023?person_id=1"
ASSOCIATED_PAGE = "https://open.work.weixin.qq.com/wwopen/common/readDocument/40754"


@check(
    "ownership",
    label=_("Domain ownership"),
    purpose=_("Judges by WeCom's answer when the domain was last written, and by the verification file."),
    subject=links.find_trusted_domain,
    explanations={
        "accepted": _("WeCom accepted %(domain)s as trusted domain when it was written."),
        "file": _("The verification file is at its place, and WeCom has not refused %(domain)s."),
        "file_since": ask_wecom_admin(
            _("WeCom refused %(domain)s as not verified (85005); a verification file was put in its place since then."),
            _("Have the domain verified in WeCom's console, then write the trusted domain from this page once more."),
        ),
    },
    problems={
        "unknown": _(
            "WeCom tells whether %(domain)s is verified only when the domain is written; nothing is known yet, and "
            "no verification file has been found at the public address."
        ),
        "unverified": _("WeCom says that the ownership of %(domain)s is not verified (85005)."),
        "no_filing": _(
            "WeCom says that %(domain)s has no ICP filing of this company or an associated one: it must be a "
            "domain of your own company or of an associated company."
        ),
        "of_a_provider": _(
            "WeCom says that %(domain)s belongs to a service provider. Use a domain of your own company."
        ),
    },
    fix=(
        WECOM_ADMIN,
        _(
            "Your company's own domain: WeCom's console → App management → the app → Web authorisation and JS-SDK → "
            "apply for verification, upload the file here, then verify. A domain of an associated company: have the "
            "association certified by WeCom. Both ways are described on the two pages below."
        ),
    ),
    copied_fact="domain",
    help_links=(OWN_DOMAIN_PAGE, ASSOCIATED_PAGE),
)
def check_ownership(question: Question) -> Finding:
    corp, domain = question.corp, question.subject
    known = find_domain_answer(corp, domain)
    found = CheckRun.objects.filter(corp=corp, check_name=check_verification_files.name, status=Status.OK)
    is_there = found.filter(subject=join_verification_codes(corp)).exists()
    if known is None:
        return ok("file", {"domain": domain}) if is_there else skip("unknown", {"domain": domain})
    if known.errcode is None:
        return ok("accepted", {"domain": domain})
    said_at = datetime.fromisoformat(known.facts["said_at"])
    # A file uploaded since then may have removed the reason for the refusal "unverified", but for no other.
    uploaded = [datetime.fromisoformat(file["uploaded_at"]) for file in corp.verification_files]
    is_newer = is_there and any(at > said_at for at in uploaded)
    if known.errcode == UNVERIFIED and is_newer:
        facts = {"domain": domain, "said_at": said_at.isoformat()}
        return Finding(Status.WARNING, "file_since", facts, known.errcode, known.hint)
    return _judge_domain_refusal(known.errcode, domain, hint=known.hint, said_at=said_at)


def note_domain_answer(*, corp: Corp, error: IntegrationError | None, now: datetime) -> None:
    """Store WeCom's answer to writing the trusted domain; `error` is None if WeCom accepted it."""
    domain = links.find_trusted_domain(corp)
    if error is None:
        finding = ok("accepted", {"domain": domain})
    elif error.code in DOMAIN_REFUSALS:
        finding = _judge_domain_refusal(error.code, domain, hint=error.hint[:64], said_at=now)
    else:
        return  # it says nothing about the domain
    times = {"requested_at": now, "finished_at": now, "next_try_at": None, "try_count": 1}
    columns = {"connection_version": corp.connection_version, "subject": domain, **finding.columns, **times}
    CheckRun.objects.update_or_create(corp=corp, check_name=check_ownership.name, defaults=columns)


def find_domain_answer(corp: Corp, domain: str) -> CheckRun | None:
    """Return the check run with WeCom's last answer to writing this trusted domain; None if there is none."""
    runs = CheckRun.objects.filter(corp=corp, check_name=check_ownership.name, facts__domain=domain)
    return runs.filter(problem__in=[*DOMAIN_REFUSALS.values(), "file_since", "accepted"]).first()


def _judge_domain_refusal(code: int, domain: str, *, hint: str, said_at: datetime) -> Finding:
    facts = {"domain": domain, "said_at": said_at.isoformat()}
    return Finding(Status.WRONG, DOMAIN_REFUSALS[code], facts, errcode=code, hint=hint)


APP_CALLBACK = CallbackEvent.Kind.APP
_PASS_ON = _("Let the reverse proxy pass /wecom/ on to this site, with its query and Host header as they come.")


@check(
    "callback",
    label=_("Callback address"),
    purpose=_("Asks the callback address at the public address, signed as WeCom signs, and compares the answer."),
    subject=lambda corp: callbacks.build_callback_url(corp, APP_CALLBACK),
    explanations={
        "verified": _("The callback address answers correctly, and WeCom has verified it."),
        "no_keys": ask_wecom_admin(
            _("No Token and EncodingAESKey are generated: nothing is received from WeCom, which not everybody needs."),
            _(
                "Generate them under “Receiving messages” to receive clicks on buttons and menus, and changes of the "
                "directory."
            ),
        ),
        "wrong_status": ask_network_admin(
            _("%(url)s answers, but refuses the check: the request does not arrive at this site as it was sent."),
            _PASS_ON,
        ),
        "wrong_content": ask_network_admin(
            _("Something else answers at %(url)s: a login page, or another server."), _PASS_ON
        ),
        "redirected": ask_network_admin(
            _("%(url)s redirects to another address, which WeCom does not follow."),
            _("If it leads from http:// to https://, save the site address with https://."),
        ),
        **_NOT_SERVED,
    },
    problems={
        "unverified": _("The callback address answers correctly, but WeCom has not verified it yet."),
        "outdated": _("The site address was changed after WeCom verified the callback address."),
    },
    fix=(
        WECOM_ADMIN,
        _("WeCom's console → App management → the app → Receive messages: save URL, Token and EncodingAESKey."),
    ),
    copied_fact="url",
)
def check_callback(question: Question) -> Finding:
    corp = question.corp
    crypto = callback_crypto(corp, APP_CALLBACK)
    if crypto is None:
        return skip("no_keys")
    facts = {"url": callbacks.build_callback_url(corp, APP_CALLBACK)}
    # Ask as WeCom does. The right answer proves that this site has the keys and the query arrives intact.
    answer = callbacks.OWN_CHECK + get_random_string(16).encode()
    timestamp, nonce = str(int(question.now.timestamp())), get_random_string(16)
    encrypted, signature = crypto.encrypt(answer, timestamp=timestamp, nonce=nonce)
    query = {"msg_signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": encrypted}
    outcome, detail = links.judge_public_page(f"{facts['url']}?{urlencode(query)}", answer, media_type="")
    if outcome != PageOutcome.FOUND:
        return wrong(outcome, facts, detail=clip(detail))
    address = callbacks.describe_callback_address(corp, APP_CALLBACK, now=question.now)
    if address["verified_at"] is None:
        return warning("unverified", facts, heals=True)
    return warning("outdated", facts, heals=True) if address["is_outdated"] else ok("verified", facts)
