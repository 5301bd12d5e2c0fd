"""Checks of the way from this server to WeCom: network, proxy, certificate, clock, trusted IP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509

from integrations.clients.errors import IntegrationError
from integrations.clients.wecom.errcodes import SITE_ADMIN
from integrations.clients.wecom.errcodes import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    FOR_A_DAY,
    IP_REFUSED,
    Finding,
    Question,
    Status,
    ask_network_admin,
    ask_site_admin,
    ask_wecom_admin,
    check,
    clip,
    fail,
    ok,
    parse_ip_address,
    skip,
    warning,
    wrong,
)
from integrations.core.client_factory import probe_wecom_route, wecom_client
from integrations.models import CheckRun

WANTS_PASSWORD = frozenset({401, 407})  # HTTP statuses of a proxy
EXPIRES_SOON = timedelta(days=30)
# Differences of the clocks. The second one is the lifetime of a sign-in code.
WARN_SECONDS = 60
WRONG_SECONDS = 300
# How long a refused address is offered for copying: some servers use several in turn.
SEEN_FOR = timedelta(days=1)


@check(
    "network",
    label=_("Network and DNS"),
    purpose=_("Looks up the API host, connects, and asks without a Secret whether WeCom is there."),
    explanations={
        "reached": _("WeCom answers at %(host)s (%(addresses)s)."),
        "dns": ask_network_admin(
            _("The name %(host)s cannot be looked up: %(reason)s."),
            _("Check the DNS servers of this server, or set a proxy under “Advanced”."),
        ),
        "tcp": ask_network_admin(
            _("%(host)s (%(addresses)s) does not take a connection at port %(port)s: %(reason)s."),
            _("Allow outgoing connections to qyapi.weixin.qq.com, port 443, in the firewall, or set a proxy."),
        ),
        "proxy_dns": ask_site_admin(
            _("The name of the proxy, %(host)s, cannot be looked up: %(reason)s."),
            _("Correct the proxy under “Advanced”."),
        ),
        "proxy_tcp": ask_site_admin(
            _("The proxy %(host)s does not take a connection at port %(port)s: %(reason)s."),
            _("Correct the proxy under “Advanced”, or start it."),
        ),
        "proxy": ask_network_admin(
            _("The proxy %(host)s refuses the way to WeCom (%(reason)s)."), _("See the check “Proxy” below.")
        ),
        "tls": ask_network_admin(
            _("A connection was made, but without trusted encryption: %(reason)s."),
            _("See the check “Certificate” below."),
        ),
        "http": ask_network_admin(
            _("A connection was made, but nothing answers on it: %(reason)s."),
            _("A firewall may let the connection through and drop what is sent. Check it, or set a proxy."),
        ),
    },
)
def check_network(question: Question) -> Finding:
    route = probe_wecom_route(question.corp)
    facts = {
        "host": route.host,
        "port": route.port,
        "addresses": ", ".join(route.addresses),
        "reason": route.reason,
    }
    if route.failed_at:
        problem = route.failed_at
        if question.corp.proxy_url and problem in {"dns", "tcp"}:
            problem = f"proxy_{problem}"
        return wrong(problem, facts, detail=f"{route.failed_at}: {route.reason}")
    if not route.is_wecom:
        return wrong("not_wecom", facts, detail=f"HTTP {route.http_status}")
    return ok("reached", facts)


@check(
    "proxy",
    label=_("Proxy"),
    purpose=_("Goes through the saved proxy, if there is one."),
    explanations={
        "none": _("No proxy is set: this server calls WeCom directly."),
        "passes": _("The proxy %(host)s, port %(port)s, lets this server through."),
        "password": ask_site_admin(
            _("The proxy %(host)s wants a user name and password, or refuses those that are saved."),
            _("Enter the proxy under “Advanced” again: http://user:password@host:port."),
        ),
        "refuses": ask_network_admin(
            _("The proxy %(host)s refuses the way to WeCom (%(reason)s)."),
            _("Have qyapi.weixin.qq.com, port 443, allowed in the proxy's rules."),
        ),
        "unreachable": ask_network_admin(
            _("The proxy %(host)s cannot be reached at port %(port)s: %(reason)s."),
            _("Start the proxy, or correct its address under “Advanced”."),
        ),
        "silent": ask_network_admin(
            _("The proxy %(host)s takes the connection and does not answer: %(reason)s."),
            _("Look into the proxy's log."),
        ),
    },
)
def check_proxy(question: Question) -> Finding:
    if not question.corp.proxy_url:
        return skip("none")
    route = probe_wecom_route(question.corp)
    facts = {"host": route.host, "port": route.port, "reason": route.reason}
    if route.failed_at == "proxy":
        problem = "password" if route.proxy_status in WANTS_PASSWORD else "refuses"
        return wrong(problem, facts, detail=f"HTTP {route.proxy_status}")
    if route.failed_at in {"dns", "tcp"}:
        return wrong("unreachable", facts, detail=f"{route.failed_at}: {route.reason}")
    if route.failed_at == "http":
        return wrong("silent", facts, detail=f"http: {route.reason}")
    return ok("passes", facts)


@check(
    "certificate",
    label=_("Certificate"),
    purpose=_(
        "Checks whether the certificate of the API address is trusted: by the usual authorities, or by your own."
    ),
    explanations={
        "not_encrypted": _("The API address is plain http on this machine: there is no certificate."),
        "trusted": _("The certificate is trusted."),
        "private": _("The certificate is trusted through your own authority %(authority)s, valid to %(ends)s."),
        "ends_soon": ask_site_admin(
            _("Your own authority %(authority)s expires on %(ends)s. WeCom cannot be reached after that."),
            _("Paste its next certificate into “CA bundle” under “Advanced”."),
        ),
        "untrusted": ask_network_admin(
            _("The certificate is not trusted: %(reason)s. A device of your network may be reading along."),
            _("Have WeCom exempted from inspection, or paste the authority of that device into “CA bundle”."),
        ),
        "own_authority": ask_site_admin(
            _("The certificate is not one of your own authority: %(reason)s."),
            _("Empty “CA bundle” under “Advanced”, or paste the certificates of the right authority."),
        ),
        "no_tls": ask_network_admin(
            _("No encrypted connection could be made: %(reason)s."),
            _("Something other than WeCom answers there. Check the API address, the firewall and the proxy."),
        ),
    },
)
def check_certificate(question: Question) -> Finding:
    corp = question.corp
    if urlsplit(corp.api_base_url).scheme != "https":
        return skip("not_encrypted")
    route = probe_wecom_route(corp)
    if route.is_certificate_refused:
        problem = "own_authority" if corp.ca_bundle else "untrusted"
        return wrong(problem, {"reason": route.reason}, detail=f"tls: {route.reason}")
    if route.failed_at == "tls":
        return wrong("no_tls", {"reason": route.reason}, detail=f"tls: {route.reason}")
    if route.failed_at:
        return skip("blocked", {"by": "network"})
    if not corp.ca_bundle:
        return ok("trusted")
    # The connection works with the private authority: show which of its certificates ends first, and when.
    certificates = x509.load_pem_x509_certificates(corp.ca_bundle.encode())
    first = min(certificates, key=lambda one: one.not_valid_after_utc)
    ends_at = first.not_valid_after_utc
    facts = {"authority": clip(first.subject.rfc4514_string(), 255), "ends": ends_at.strftime("%Y-%m-%d")}
    return warning("ends_soon", facts) if ends_at - question.now < EXPIRES_SOON else ok("private", facts)


@check(
    "clock",
    label=_("Clock"),
    purpose=_("Compares the clock of this server with the Date header of the API's answer."),
    explanations={
        "right": _("The clocks differ by %(seconds)s s."),
        "no_date": _("The answer has no Date header, so the clocks cannot be compared."),
    },
    problems={
        "ahead": _("The clock of this server is ahead by %(seconds)s s."),
        "behind": _("The clock of this server is behind by %(seconds)s s."),
    },
    fix=(SITE_ADMIN, _("Switch on time synchronisation (NTP, chrony or systemd-timesyncd) on this server.")),
)
def check_clock(question: Question) -> Finding:
    route = probe_wecom_route(question.corp)
    if route.failed_at:
        return skip("blocked", {"by": "network"})
    if route.server_date is None:
        return skip("no_date")
    # Not `question.now`, because the answer took time; the header has whole seconds.
    return judge_clock(round((datetime.now(UTC) - route.server_date).total_seconds()))


def judge_clock(seconds: int) -> Finding:
    """Judge the number of `seconds` by which this server is ahead; below 0 it is behind."""
    facts = {"seconds": abs(seconds)}
    if abs(seconds) <= WARN_SECONDS:
        return ok("right", facts)
    problem = "ahead" if seconds > 0 else "behind"
    return wrong(problem, facts) if abs(seconds) > WRONG_SECONDS else warning(problem, facts, heals=True)


@check(
    "ip",
    label=_("Trusted IP"),
    purpose=_("Makes a call that WeCom answers only to the addresses in its list of trusted IPs."),
    explanations={
        "accepted": _("WeCom accepts calls from this server."),
        "trusted": _("WeCom accepts calls from this server. What it refused last: %(copied)s."),
        "refused_ip": ask_wecom_admin(
            _("WeCom refuses the address of this server: %(copied)s is not among the trusted IPs of the app."),
            _(
                "WeCom's console → App management → the app → Trusted company IP: add this to the list, several "
                "addresses separated by “;”. WeCom asks first for a trusted domain or a callback address. A new entry "
                "counts after about a minute; this check tries again by itself."
            ),
        ),
        "unnamed_ip": ask_wecom_admin(
            _("WeCom refuses the address of this server, and does not say which one it saw."),
            _(
                "WeCom's console → App management → the app → Trusted company IP: add the public address by which this "
                "server leaves your network."
            ),
        ),
    },
    retries=FOR_A_DAY,
    copied_fact="copied",
)
def check_ip(question: Question) -> Finding:
    try:
        wecom_client(question.corp).getcallbackip()
    except IntegrationError as error:
        if error.code not in IP_REFUSED:
            raise
        addresses = _find_refused_addresses(question, parse_ip_address(error.caller_ip))
        problem = "refused_ip" if addresses else "unnamed_ip"
        facts = {"addresses": addresses, "copied": ";".join(addresses)}
        return fail(error, problem, Status.WRONG, heals=True, facts=facts)
    addresses = _find_refused_addresses(question, None)
    return ok("trusted", {"addresses": addresses, "copied": ";".join(addresses)}) if addresses else ok("accepted")


def _find_refused_addresses(question: Question, newest: str | None) -> list[str]:
    """Return the addresses that WeCom refused within SEEN_FOR, the newest first."""
    runs = CheckRun.objects.filter(corp=question.corp, finished_at__gte=question.now - SEEN_FOR)
    seen = [newest] if newest else []
    for facts, address in runs.order_by("-finished_at").values_list("facts", "caller_ip"):
        earlier = facts.get("addresses")
        seen += [address] if address else []
        seen += earlier if isinstance(earlier, list) else []
    return list(dict.fromkeys(seen))
