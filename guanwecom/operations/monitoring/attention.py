"""What the overview points at, for those without Prometheus: what the rules of deploy/prometheus tell, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.users.scopes import sees_all
from guanwecom.operations.monitoring import expiry, limits, waiting
from integrations.core import sentences
from integrations.core.background import database_clock
from integrations.core.hooks import Attention
from integrations.models import Corp, Installation

# As in deploy/prometheus/rules.yml (a test compares).
CERTIFICATE_DAYS, SECRET_DAYS = 21, 365
LIMIT_SHARE = 0.9
BACKUP_DAYS = 2
TASKS_AT_MOST, WORK_AT_MOST, PICTURES_AT_MOST = 500, 1000, 50
_SOON = timedelta(days=3)
FAILOVER_SHOWN = timedelta(days=1)

_PAGES = {
    "site": "admin:integrations_siteaddress_changelist",
    "wecom": "admin:integrations_corp_change",
    "bi": "admin:integrations_biconnection_change",
    "source": "admin:integrations_datasource_change",
}


def monitoring_attentions(request: HttpRequest, _corps: Sequence[Corp]) -> list[Attention]:
    """For those who see all companies. Registered with integrations.core.hooks.attentions."""
    if not sees_all(request.user):
        return []
    now = database_clock()()
    return [*_installation(now), *_certificates(now), *_secrets(now), *_limits(), *_waiting(now)]


def _installation(now: datetime) -> Iterator[Attention]:
    """Say that no backup was made for days, and that a standby took over. One query."""
    row = Installation.objects.first()
    if row is None:
        return
    age = row.backup_age(now)
    if age > timedelta(days=BACKUP_DAYS) and settings.ENVIRONMENT != "demo":
        sentence = _("No backup has been made for %(count)d days.") % {"count": age.days}
        yield Attention(sentence, _guide("guanwecombackupold"))
    if row.failed_over_at is not None and row.failed_over_at > now - FAILOVER_SHOWN:
        sentence = _(
            "The database failed over, noticed at %(time)s. What an asynchronous standby had not received is lost: "
            "check pushes that were sent by hand or over the API just before, and send again what is missing."
        )
        time = f"{localtime(row.failed_over_at):%Y-%m-%d %H:%M}"
        yield Attention(sentence % {"time": time}, reverse("admin:notifications_run_changelist"), "warn")


def _certificates(now: datetime) -> Iterator[Attention]:
    for certificate in expiry.certificates():
        left = certificate.ends_at - now
        if left >= timedelta(days=CERTIFICATE_DAYS):
            continue
        days = max(0, left.days)
        words = {"name": _name(certificate), "count": days}
        sentence = ngettext(
            "The certificate of %(name)s ends in %(count)d day.",
            "The certificate of %(name)s ends in %(count)d days.",
            days,
        )
        if left <= timedelta():
            sentence = _("The certificate of %(name)s has ended.")
        yield Attention(sentence % words, _page(certificate), "bad" if left < _SOON else "warn")


def _name(certificate: expiry.Certificate) -> str:
    """As an administrator calls it."""
    names = {
        "mail_door": _("the mail door"),
        "valkey": _("Valkey's authority"),
        "wecom": _("a company's own authority"),
        "bi": _("the BI's own authority"),
        "source": _("a data source's own authority"),
    }
    return names.get(certificate.kind, certificate.name)


def _page(certificate: expiry.Certificate) -> str:
    page = _PAGES.get(certificate.kind, "")
    if not page:
        return _guide("guanwecomcertificateends")
    return reverse(page, args=[certificate.name] if page.endswith("_change") else [])


def _guide(anchor: str) -> str:
    """What to do; where the guides were not built, the overview itself."""
    return sentences.guide_address("alarms", anchor) or reverse("admin:index")


def _secrets(now: datetime) -> Iterator[Attention]:
    old = [secret for secret in expiry.secrets() if now - secret.set_at > timedelta(days=SECRET_DAYS)]
    if old:
        sentence = ngettext(
            "%(count)d stored secret has not been changed for a year.",
            "%(count)d stored secrets have not been changed for a year.",
            len(old),
        )
        yield Attention(sentence % {"count": len(old)}, _guide("guanwecomsecretold"), "warn")


def _limits() -> Iterator[Attention]:
    words = {
        "address_minute": _("calls a minute of one address"),
        "address_hour": _("calls an hour of one address"),
        "company_minute": _("calls a minute of %(corp)s"),
        "company_hour": _("calls an hour of %(corp)s"),
    }
    for used in limits.used():
        if used.share > LIMIT_SHARE:
            sentence = _("%(percent)d %% of a limit of WeCom is used: %(limit)s. What is more waits.")
            corp = Corp.objects.only("name").filter(pk=used.corp_id or 0).first()
            facts = {"percent": round(100 * used.share), "limit": words[used.limit] % {"corp": corp}}
            yield Attention(sentence % facts, reverse("admin:notifications_corpqueue_changelist"), "warn")


def _waiting(now: datetime) -> Iterator[Attention]:
    for queue, count in waiting.tasks().items():
        if count > TASKS_AT_MOST:
            sentence = _("%(count)d tasks stand in the queue “%(queue)s”: add workers.")
            yield Attention(sentence % {"count": count, "queue": queue}, _guide("guanwecomqueuelong"))
    words = {
        "runs": _("pushes to be made"),
        "data": _("fetches of data"),
        "pictures": _("pictures and files"),
        "page_pictures": _("pictures of pages"),
        "audit_for_syslog": _("audit entries for the syslog server"),
        "events": _("changes of the directory"),
        "inbound_files": _("files of other systems"),
        "webhooks": _("answers to other systems"),
        "mails": _("mails"),
    }
    for work, count in waiting.work(now=now).items():
        if count > (PICTURES_AT_MOST if "pictures" in work else WORK_AT_MOST):
            sentence = _("%(count)d %(work)s wait.") % {"count": count, "work": words.get(work, work)}
            yield Attention(sentence, _guide("guanwecomworkwaits"), "warn")
