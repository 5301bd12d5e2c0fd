"""Whether the server reaches WeCom at all: name, port, proxy, TLS and what answers, each told apart."""

from __future__ import annotations

from integrations.clients.explanations import Explanation
from integrations.clients.network import Journey
from integrations.clients.wecom.errcodes.entry import NETWORK_ADMIN, SITE_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import Check, Finding, Question, ok, wrong
from integrations.core.client_factory import network_client


def run(question: Question) -> Finding:
    journey = network_client(question.corp).travel()
    return judged(journey, has_proxy=bool(question.corp.proxy_url))


def judged(journey: Journey, *, has_proxy: bool) -> Finding:
    """The finding for a journey. A failure on the way to a proxy is told apart from one on the way to WeCom."""
    facts = {
        "host": journey.host,
        "port": journey.port,
        "addresses": ", ".join(journey.addresses),
        "reason": journey.reason,
    }
    if journey.failed_at:
        problem = journey.failed_at
        if has_proxy and problem in {"dns", "tcp"}:
            problem = f"proxy_{problem}"
        return wrong(problem, facts, detail=f"{journey.failed_at}: {journey.reason}")
    if not journey.is_wecom:
        return wrong("not_wecom", facts, detail=f"HTTP {journey.http_status}")
    return ok("reached", facts)


CHECK = Check(
    name="network",
    label=_("Network and DNS"),
    purpose=_("Looks up the API host, connects, and asks without a Secret whether WeCom is there."),
    run=run,
    explanations={
        "reached": Explanation(_("WeCom answers at %(host)s (%(addresses)s).")),
        "dns": Explanation(
            _("The name %(host)s cannot be looked up: %(reason)s."),
            NETWORK_ADMIN,
            _("Check the DNS servers of this server, or set a proxy under “Advanced”."),
        ),
        "tcp": Explanation(
            _("%(host)s (%(addresses)s) does not take a connection at port %(port)s: %(reason)s."),
            NETWORK_ADMIN,
            _("Allow outgoing connections to qyapi.weixin.qq.com, port 443, in the firewall, or set a proxy."),
        ),
        "proxy_dns": Explanation(
            _("The name of the proxy, %(host)s, cannot be looked up: %(reason)s."),
            SITE_ADMIN,
            _("Correct the proxy under “Advanced”."),
        ),
        "proxy_tcp": Explanation(
            _("The proxy %(host)s does not take a connection at port %(port)s: %(reason)s."),
            SITE_ADMIN,
            _("Correct the proxy under “Advanced”, or start it."),
        ),
        "proxy": Explanation(
            _("The proxy %(host)s refuses the way to WeCom (%(reason)s)."),
            NETWORK_ADMIN,
            _("See the check “Proxy” below."),
        ),
        "tls": Explanation(
            _("A connection stands, but no trusted encryption comes about: %(reason)s."),
            NETWORK_ADMIN,
            _("See the check “Certificate” below."),
        ),
        "http": Explanation(
            _("A connection stands, but nothing answers on it: %(reason)s."),
            NETWORK_ADMIN,
            _("A firewall may let the connection through and drop what is sent. Check it, or set a proxy."),
        ),
    },
)
