"""Warnings and metrics besides the engine's health: waiting work, used limits, expiring certificates and old secrets.

The overview warns in the same cases as the rules of deploy/prometheus. /metrics serves the numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from celery import current_app
from cryptography import x509
from django.conf import settings
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.urls import reverse
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.audit.signals import list_tracked_models
from accounts.models import AuditEntry
from accounts.users.roles import sees_all
from guanwecom.operations import health, logs, middleware
from integrations.clients.transport import read_boot_clock
from integrations.core import metrics, sentences
from integrations.core.background import database_now
from integrations.core.hooks import Attention
from integrations.core.redis import valkey
from integrations.models import BiConnection, CallbackEvent, CardData, Corp, DataSource, Installation, Job, SiteAddress
from integrations.models.fields import find_encrypted_columns
from notifications.delivery.channels import make_address_scope, make_company_scope
from notifications.delivery.limiter import Scope, StoreLostError, ask_gate
from notifications.delivery.metrics import collect_push_metrics, make_gauge
from notifications.delivery.sending import settle
from notifications.inbound import calls
from notifications.inbound.mail import server as mail_door
from notifications.models import IncomingMessage, MakerQueue, Medium, OutgoingMail, Run

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

logger = logging.getLogger(__name__)

# The same thresholds as in deploy/prometheus/rules.yml (a test compares them).
CERTIFICATE_DAYS, SECRET_DAYS = 21, 365
LIMIT_SHARE = 0.9
BACKUP_DAYS = 2
TASKS_AT_MOST, WORK_AT_MOST, PICTURES_AT_MOST = 500, 1000, 50
_URGENT_BEFORE_END = timedelta(days=3)  # a certificate that ends within this time is an error, not a warning
FAILOVER_WARNING_LASTS = timedelta(days=1)

# By kind of certificate: its name for administrators, empty if each has a name of its own, and the page to change it.
_CERTIFICATES = {
    "site": ("", "admin:integrations_siteaddress_changelist"),
    "mail_door": (gettext_lazy("the mail door"), ""),
    "valkey": (gettext_lazy("Valkey's authority"), ""),
    "wecom": (gettext_lazy("a company's own authority"), "admin:integrations_corp_change"),
    "bi": (gettext_lazy("the BI's own authority"), "admin:integrations_biconnection_change"),
    "source": (gettext_lazy("a data source's own authority"), "admin:integrations_datasource_change"),
}


def list_monitoring_attentions(request: HttpRequest, _corps: Sequence[Corp]) -> list[Attention]:
    """Return the warnings for administrators of all companies."""
    if not sees_all(request.user):
        return []
    now = database_now()
    attentions: list[Attention] = []
    row = Installation.objects.first()
    if row is not None:
        age = row.backup_age(now)
        if age > timedelta(days=BACKUP_DAYS) and settings.ENVIRONMENT != "demo":
            sentence = _("No backup has been made for %(count)d days.") % {"count": age.days}
            attentions.append(Attention(sentence, _find_guide("guanwecombackupold")))
        if row.failed_over_at is not None and row.failed_over_at > now - FAILOVER_WARNING_LASTS:
            sentence = _(
                "The database failed over, noticed at %(time)s. What an asynchronous standby had not received is lost: "
                "check pushes that were sent by hand or over the API just before, and send again what is missing."
            )
            sentence %= {"time": f"{localtime(row.failed_over_at):%Y-%m-%d %H:%M}"}
            attentions.append(Attention(sentence, reverse("admin:notifications_run_changelist"), "warn"))
    return [*attentions, *_warn_of_expiry(now), *_warn_of_load(now)]


def _find_guide(anchor: str) -> str:
    """Return the address of an alarm's section in the guide; of the overview if the guides were not built."""
    return sentences.find_guide_address("alarms", anchor) or reverse("admin:index")


def _warn_of_expiry(now: datetime) -> Iterator[Attention]:
    """Warn of certificates that end soon and of secrets that have not been changed for long."""
    for certificate in find_certificates():
        left = certificate.ends_at - now
        if left >= timedelta(days=CERTIFICATE_DAYS):
            continue
        days, (name, page) = max(0, left.days), _CERTIFICATES[certificate.kind]
        words = {"name": name or certificate.name, "count": days}
        sentence = ngettext(
            "The certificate of %(name)s ends in %(count)d day.",
            "The certificate of %(name)s ends in %(count)d days.",
            days,
        )
        if left <= timedelta():
            sentence = _("The certificate of %(name)s has ended.")
        address = _find_guide("guanwecomcertificateends")
        if page:
            address = reverse(page, args=[certificate.name] if page.endswith("_change") else [])
        yield Attention(sentence % words, address, "bad" if left < _URGENT_BEFORE_END else "warn")
    old = [secret for secret in find_secrets() if now - secret.set_at > timedelta(days=SECRET_DAYS)]
    if old:
        sentence = ngettext(
            "%(count)d stored secret has not been changed for a year.",
            "%(count)d stored secrets have not been changed for a year.",
            len(old),
        )
        yield Attention(sentence % {"count": len(old)}, _find_guide("guanwecomsecretold"), "warn")


def _warn_of_load(now: datetime) -> Iterator[Attention]:
    """Warn of limits that are nearly used up, of long queues, and of much waiting work."""
    words = {
        "address_minute": _("calls a minute of one address"),
        "address_hour": _("calls an hour of one address"),
        "company_minute": _("calls a minute of %(corp)s"),
        "company_hour": _("calls an hour of %(corp)s"),
    }
    for used in measure_limits():
        if used.share > LIMIT_SHARE:
            sentence = _("%(percent)d %% of a limit of WeCom is used: %(limit)s. Further calls wait.")
            corp = Corp.objects.only("name").filter(pk=used.corp_id or 0).first()
            facts = {"percent": round(100 * used.share), "limit": words[used.limit] % {"corp": corp}}
            yield Attention(sentence % facts, reverse("admin:notifications_corpqueue_changelist"), "warn")
    for queue, count in count_queued_tasks().items():
        if count > TASKS_AT_MOST:
            sentence = _("%(count)d tasks wait in the queue “%(queue)s”: add workers.")
            yield Attention(sentence % {"count": count, "queue": queue}, _find_guide("guanwecomqueuelong"))
    for work, count in count_waiting_work(now=now).items():
        if count > (PICTURES_AT_MOST if "pictures" in work else WORK_AT_MOST):
            sentence = _("%(count)d %(work)s wait.") % {"count": count, "work": WORK[work].label}
            yield Attention(sentence, _find_guide("guanwecomworkwaits"), "warn")


# Seconds. Searching the audit trail takes too long for every scrape of /metrics, so the result is cached.
SECRETS_CACHE_SECONDS = 600.0


@dataclass(frozen=True)
class Certificate:
    """A certificate. For a file with several, the one that ends first. `kind`: site, mail_door, valkey, wecom, bi or
    source. `name`: the site's host, the row's primary key, or empty."""

    kind: str
    name: str
    ends_at: datetime


@dataclass(frozen=True)
class Secret:
    """A stored secret. `kind`: model and column, as in corp.secret. `set_at`: its last change in the audit trail."""

    kind: str
    row_id: int
    set_at: datetime


def find_certificates() -> Iterator[Certificate]:
    """Yield the certificates of site addresses (as last checked), of the mail door and Valkey, and of the authorities
    set for companies, the BI and data sources. Unreadable certificates are left out."""
    for address in SiteAddress.objects.order_by("pk"):
        if address.certificate_ends_at is not None:
            yield Certificate("site", address.domain, address.certificate_ends_at)
    for kind, path in (("mail_door", settings.MAIL_DOOR_CERTIFICATE), ("valkey", settings.VALKEY_CA_BUNDLE)):
        yield from _find_first_to_end(kind, "", _read_file(path))
    for kind, model in (("wecom", Corp), ("bi", BiConnection), ("source", DataSource)):
        rows = model._default_manager.exclude(ca_bundle="").values_list("pk", "ca_bundle")
        for pk, bundle in rows:
            yield from _find_first_to_end(kind, str(pk), bundle)


def _find_first_to_end(kind: str, name: str, pem: str) -> Iterator[Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    except ValueError:
        return
    if certificates:
        yield Certificate(kind, name, min(each.not_valid_after_utc for each in certificates))


def _read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace") if path else ""
    except OSError:
        return ""


def find_secrets() -> tuple[Secret, ...]:
    """Return every stored secret whose last change is in the audit trail, cached for SECRETS_CACHE_SECONDS."""
    return _read_secrets(int(read_boot_clock() // SECRETS_CACHE_SECONDS))


@lru_cache(1)
def _read_secrets(_period: int) -> tuple[Secret, ...]:
    columns, secrets = find_encrypted_columns(), []
    for model in list_tracked_models():
        for column in columns.get(model, []):
            # Cast, since reading the field would decrypt it. A change in the audit trail is [column, before, after].
            raw = model._base_manager.annotate(raw=Cast(column, TextField()))
            present = set(raw.exclude(raw="").values_list("pk", flat=True))
            changes = AuditEntry.objects.filter(model=model._meta.label_lower, object_id__in=present)
            changes = changes.annotate(text=Cast("changes", TextField())).filter(text__contains=f'["{column}"')
            latest = {entry.object_id: entry.at for entry in changes.order_by("pk").only("object_id", "at")}
            kind = f"{model._meta.model_name}.{column}"
            secrets += [Secret(kind, pk, at) for pk, at in latest.items() if pk is not None]
    return tuple(secrets)


def forget_secrets() -> None:
    """Clear this process's cache."""
    _read_secrets.cache_clear()


# Waiting rows are counted up to this number.
COUNTED_AT_MOST = 10_000


class WaitingWork(NamedTuple):
    """A kind of work that waits in a table. `label`: its name for administrators. `select_rows`: takes the present time
    and returns the rows that wait."""

    label: StrOrPromise
    select_rows: Callable[[datetime], QuerySet[Any]]


# By the name in metrics. Deliveries have a metric of their own.
WORK = {
    "runs": WaitingWork(gettext_lazy("pushes to be made"), lambda _now: Run.objects.filter(status=Run.Status.WAITING)),
    "data": WaitingWork(gettext_lazy("fetches of data"), lambda _now: CardData.objects.waiting()),
    "pictures": WaitingWork(gettext_lazy("pictures and files"), lambda _now: _filter_waiting_media(MakerQueue.CHARTS)),
    "page_pictures": WaitingWork(
        gettext_lazy("pictures of pages"), lambda _now: _filter_waiting_media(MakerQueue.SNAPSHOTS)
    ),
    "events": WaitingWork(gettext_lazy("changes of the directory"), lambda _now: CallbackEvent.objects.waiting()),
    "inbound_files": WaitingWork(
        gettext_lazy("files of other systems"),
        lambda _now: Job.objects.unfinished().filter(kind=calls.FETCH),
    ),
    "webhooks": WaitingWork(gettext_lazy("answers to other systems"), IncomingMessage.objects.to_call_back),
    "audit_for_syslog": WaitingWork(
        gettext_lazy("audit entries for the syslog server"),
        lambda _now: AuditEntry.objects.filter(is_unsent=True),
    ),
    "mails": WaitingWork(gettext_lazy("mails"), OutgoingMail.objects.due),
}


def _filter_waiting_media(queue: MakerQueue) -> QuerySet[Medium]:
    return Medium.objects.filter(status=Medium.Status.WAITING, queue=queue)


def count_waiting_work(*, now: datetime) -> dict[str, int]:
    """Count the waiting rows of each kind of work, up to COUNTED_AT_MOST. Raises django.db.Error."""
    return {name: work.select_rows(now).order_by()[:COUNTED_AT_MOST].count() for name, work in WORK.items()}


def count_queued_tasks() -> dict[str, int]:
    """Count the tasks in each queue that no worker has taken. Return nothing if Valkey does not answer."""
    steps = current_app.conf.broker_transport_options.get("priority_steps", [0, 3, 6, 9])  # each has a list in Valkey
    names = (*(queue.name for queue in settings.CELERY_TASK_QUEUES), *MakerQueue.values)
    try:
        return {name: sum(valkey().llen(f"{name}\x06\x16{step}" if step else name) for step in steps) for name in names}
    except redis.RedisError:
        return {}


@dataclass(frozen=True)
class LimitShare:
    """The used share of a limit of WeCom, from 0 to 1. `limit`: address_minute, address_hour, company_minute or
    company_hour. `corp_id`: None for an address, which companies share."""

    limit: str
    corp_id: int | None
    share: float


class _MeasuredScope(NamedTuple):
    kind: str  # address or company
    corp_id: int | None
    scope: Scope


def measure_limits() -> list[LimitShare]:
    """Measure the limits of message/send for each enabled company and each address; empty if the limiter fails."""
    scopes: dict[str, _MeasuredScope] = {}  # by key, since companies with the same CorpId share its limits
    for corp in Corp.objects.enabled().only("corpid", "proxy_url").order_by("pk"):
        address = _MeasuredScope("address", None, make_address_scope(corp))
        company = _MeasuredScope("company", corp.pk, make_company_scope(corp.corpid))
        scopes.setdefault(address.scope.key, address)
        scopes.setdefault(company.scope.key, company)
    by_minute = [each._replace(scope=replace(each.scope, parallel=0, per_hour=0)) for each in scopes.values()]
    by_hour = [each._replace(scope=replace(each.scope, parallel=0, per_minute=0)) for each in scopes.values()]
    try:
        return [*_measure_shares(by_minute, "minute"), *_measure_shares(by_hour, "hour")]
    except (StoreLostError, redis.RedisError) as error:
        logger.warning("the used limits could not be read: %s", type(error).__name__)
        return []


def _measure_shares(scopes: list[_MeasuredScope], window: str) -> list[LimitShare]:
    """Return the used share of each limit; for addresses only the highest one."""
    limited = [each for each in scopes if each.scope.per_minute or each.scope.per_hour]
    if not limited:
        return []
    # Pauses that WeCom asked for are ignored (respects_hold), since they use no calls.
    room = ask_gate(
        lambda gate: gate.find_rooms(
            [each.scope for each in limited], within_seconds=0, is_urgent=True, respects_hold=False
        )
    )
    shares: dict[tuple[str, int | None], float] = {}
    for kind, corp_id, scope in limited:
        share = 1 - room[scope] / (scope.per_minute or scope.per_hour)
        shares[kind, corp_id] = max(share, shares.get((kind, corp_id), 0.0))
    return [LimitShare(f"{kind}_{window}", corp_id, round(share, 4)) for (kind, corp_id), share in shares.items()]


# Imported so that every web process serves their metrics: importing a module registers its metrics.
MODULES_WITH_METRICS = (logs, middleware, mail_door, settle)


class EngineCollector(Collector):
    """Collector of all metrics for one scrape of Prometheus. If Valkey is emptied, counters restart at 0."""

    def collect(self) -> Iterator[Metric]:
        yield from collect_push_metrics()
        state, now = health.read_state(), database_now()
        up, workers = not state.problems, {(queue.name,): queue.process_count for queue in state.queues}
        yield GaugeMetricFamily("guanwecom_engine_up", "1: the push engine works; 0: a part has stopped", up)
        yield GaugeMetricFamily("guanwecom_beat_processes", "Running beats", state.beat.process_count)
        yield make_gauge("guanwecom_queue_workers", "Running workers that serve a queue", workers, ["queue"])
        yield GaugeMetricFamily("guanwecom_mail_door_processes", "Running mail doors", state.mail_door.process_count)
        if state.tick_seconds is not None:
            yield GaugeMetricFamily("guanwecom_tick_age_seconds", "Seconds since the last tick", state.tick_seconds)
        yield GaugeMetricFamily("guanwecom_overdue_slots", "Overdue pushes and alert rules", state.overdue_count)
        yield GaugeMetricFamily("guanwecom_overdue_seconds", "Seconds since the oldest was due", state.overdue_seconds)
        site = {(SiteAddress.objects.default().url,): 1.0}
        yield make_gauge("guanwecom_site_info", "Always 1; url: the site's address for links", site, ["url"])
        if (row := Installation.objects.first()) is not None:
            age = row.backup_age(now).total_seconds()
            yield GaugeMetricFamily("guanwecom_backup_age_seconds", "Seconds since the last backup", age)
        rows = {(name,): float(count) for name, count in count_waiting_work(now=now).items()}
        yield make_gauge("guanwecom_work_waiting", "Rows of work that waits", rows, ["work"])
        queued = {(name,): float(count) for name, count in count_queued_tasks().items()}
        yield make_gauge("guanwecom_queue_tasks", "Tasks that wait in a queue", queued, ["queue"])
        yield make_gauge(
            "guanwecom_limit_used_ratio",
            "How much of a limit of WeCom is used; corp: empty for an address, which companies share",
            {(used.limit, "" if used.corp_id is None else str(used.corp_id)): used.share for used in measure_limits()},
            ["limit", "corp"],
        )
        yield make_gauge(
            "guanwecom_certificate_expiry_timestamp_seconds",
            "When a certificate ends, in Unix time; of several in one file, the first to end",
            {(each.kind, each.name): each.ends_at.timestamp() for each in find_certificates()},
            ["kind", "name"],
        )
        yield make_gauge(
            "guanwecom_secret_set_timestamp_seconds",
            "When a stored secret was last changed, in Unix time",
            {(each.kind, str(each.row_id)): each.set_at.timestamp() for each in find_secrets()},
            ["secret", "id"],
        )
        yield from metrics.collect_families()
