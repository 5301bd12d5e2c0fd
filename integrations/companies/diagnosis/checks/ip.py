"""Whether WeCom accepts calls from this server's address (60020)."""

from __future__ import annotations

from datetime import timedelta

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    FOR_A_DAY,
    IP_REFUSED,
    BlockingCheck,
    Check,
    Finding,
    Question,
    Status,
    fail,
    judge_error,
    ok,
    parse_ip_address,
)
from integrations.core.client_factory import wecom_client
from integrations.models import CheckRun

# How long an address that WeCom refused is still offered for copying, when this server leaves by several.
SEEN_FOR = timedelta(days=1)
RUNS_READ = 50


def run(question: Question) -> Finding:
    try:
        wecom_client(question.corp).getcallbackip()
    except IntegrationError as error:
        if error.code not in IP_REFUSED:
            return judge_error(error, check_name=BlockingCheck.IP)
        addresses = seen_addresses(question, parse_ip_address(error.caller_ip))
        problem = "refused_ip" if addresses else "unnamed_ip"
        facts = {"addresses": addresses, "copied": ";".join(addresses)}
        return fail(error, problem, Status.WRONG, heals=True, facts=facts)
    seen = seen_addresses(question, None)
    return ok("trusted", {"addresses": seen, "copied": ";".join(seen)}) if seen else ok("accepted")


def seen_addresses(question: Question, newest: str | None) -> list[str]:
    """The addresses that WeCom refused lately, the newest first: behind some networks a server has several."""
    runs = CheckRun.objects.filter(corp=question.corp, finished_at__gte=question.now - SEEN_FOR)
    seen = [newest] if newest else []
    for facts, address in runs.values_list("facts", "caller_ip")[:RUNS_READ]:
        earlier = facts.get("addresses")
        seen += [address] if address else []
        seen += earlier if isinstance(earlier, list) else []
    return list(dict.fromkeys(seen))


CHECK = Check(
    name=BlockingCheck.IP,
    label=_("Trusted IP"),
    purpose=_("Makes a call that WeCom answers only to the addresses in its list of trusted IPs."),
    run=run,
    explanations={
        "accepted": Explanation(_("WeCom accepts calls from this server.")),
        "trusted": Explanation(_("WeCom accepts calls from this server. What it refused last: %(copied)s.")),
        "refused_ip": Explanation(
            _("WeCom refuses the address of this server: %(copied)s is not among the trusted IPs of the app."),
            WECOM_ADMIN,
            _(
                "WeCom's console → App management → the app → Trusted company IP: add this to what stands there, "
                "several separated by “;”. WeCom asks first for a trusted domain or a callback address. A new entry "
                "counts after about a minute; this check tries again by itself."
            ),
        ),
        "unnamed_ip": Explanation(
            _("WeCom refuses the address of this server, and does not say which one it saw."),
            WECOM_ADMIN,
            _(
                "WeCom's console → App management → the app → Trusted company IP: add the public address by which this "
                "server leaves your network."
            ),
        ),
    },
    retries=FOR_A_DAY,
    copied="copied",
)
