"""Data sources, cards with their queries, and the data fetched for them."""

from __future__ import annotations

import json
import zlib
from datetime import datetime

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.clients.sources.errors import Problem
from integrations.data.table import Table, from_document, to_document
from integrations.models import datasource_messages
from integrations.models.companies import Corp
from integrations.models.fields import EncryptedTextField
from integrations.models.jobs import Leased, LeasedQuerySet, Moment
from integrations.models.scoping import NOTHING, Person, corp_condition

SECONDS_AT_MOST = 120
ROWS_AT_MOST = 100_000
# Columns of DataSource that are read where they are used, and nowhere else.
SECRETS = ("sql_url", "http_headers")
# Of these a source says that it does not know, or refuses, what a card asks for.
LOST = frozenset({Problem.NOT_FOUND, Problem.REFUSED, Problem.NO_TABLE})


class SourceKind(models.TextChoices):
    GUANDATA = "guandata", _("Cards of the BI (Guandata)")
    SQL = "sql", _("Database (SQL)")
    JSON = "json", _("Web service (JSON over HTTP)")


class DataSourceQuerySet(models.QuerySet["DataSource"]):
    def visible_to(self, person: Person) -> DataSourceQuerySet:
        """Those of the companies that `person` sees; those of no company for who sees all."""
        return self.filter(_of_visible_corps(person, ""))

    def hidden_from(self, person: Person) -> DataSourceQuerySet:
        """Those of no company, of which somebody who sees some companies may know that they are there."""
        return self.filter(_of_no_corp(person, ""))

    def with_too_much_power(self) -> DataSourceQuerySet:
        """Those whose account at the database may do more than read tables."""
        return self.exclude(account_powers="")

    def slow(self) -> DataSourceQuerySet:
        """Those whose last answer did not come within their time limit."""
        return self.filter(slow_since__isnull=False)


class DataSource(models.Model):
    """A place that answers questions. Which columns count depends on its kind."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=16, choices=SourceKind.choices)
    is_enabled = models.BooleanField(
        pgettext_lazy("switch", "enabled"),
        default=True,
        help_text=_("Off: no data is fetched. Reports and alerts that need it say so."),
    )
    corp = models.ForeignKey(
        Corp,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="data_sources",
        verbose_name=_("company"),
        help_text=_("Whose administrators and editors may use it. Empty: those alone who see all companies."),
    )
    timeout_seconds = models.PositiveSmallIntegerField(
        _("time limit in seconds"),
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(SECONDS_AT_MOST)],
        help_text=_("From 1 to 120, for one whole answer. A slower one counts as failed."),
    )
    row_limit = models.PositiveIntegerField(
        _("maximum number of rows"),
        default=10_000,
        validators=[MinValueValidator(1), MaxValueValidator(ROWS_AT_MOST)],
        help_text=_("From 1 to 100,000. Of a longer answer the first ones are kept, and the report says so."),
    )
    parallel_limit = models.PositiveSmallIntegerField(
        _("parallel queries"),
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(16)],
        help_text=_("From 1 to 16. More wait their turn, so that a slow source holds up nobody else."),
    )
    # --- SQL ----------------------------------------------------------------------------------------------------------
    sql_url = EncryptedTextField(_("address of the database"), blank=True)
    # What its account may do beyond reading tables (failing.Power, with commas), as the database said when it was asked
    # last.
    account_powers = models.CharField(max_length=40, blank=True, default="", db_default="", editable=False)
    account_checked_at = models.DateTimeField(null=True, editable=False)
    # --- JSON over HTTP -----------------------------------------------------------------------------------------------
    http_url = models.CharField(
        _("address of the service"),
        max_length=500,
        blank=True,
        help_text=_("The part that all its queries share: https://api.example.com/v1."),
    )
    http_headers = EncryptedTextField(_("headers"), blank=True)
    allows_private_addresses = models.BooleanField(
        _("may be in the internal network"),
        default=False,
        db_default=False,
        help_text=_(
            "Only a superuser may tick this: it lets the source be at addresses that the internet does not see."
        ),
    )
    ca_bundle = models.TextField(_("CA bundle"), blank=True, help_text=_("PEM certificates of a private authority."))
    # Since when its fetches run into the time limit; null where the last one ended within it
    # (integrations.datasources.fetch).
    slow_since = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = DataSourceQuerySet.as_manager()

    class Meta:
        verbose_name = _("data source")
        verbose_name_plural = _("data sources")
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=SourceKind.values), name="data_source_kind"),
        ]

    def __str__(self) -> str:
        return self.name


class CardQuerySet(models.QuerySet["Card"]):
    def visible_to(self, person: Person) -> CardQuerySet:
        """Those whose source `person` sees."""
        return self.filter(_of_visible_corps(person, "source__"))

    def hidden_from(self, person: Person) -> CardQuerySet:
        """Those of such a source."""
        return self.filter(_of_no_corp(person, "source__"))


class CardView(models.TextChoices):
    """How the BI is asked for a card's data."""

    GRID = "GRID", _("as a table (GRID)")
    GRAPH = "GRAPH", _("as the chart draws it (GRAPH)")


class HttpMethod(models.TextChoices):
    GET = "GET", "GET"
    POST = "POST", "POST"


class Card(models.Model):
    """One question to one source; its answer is one Table."""

    name = models.CharField(_("name"), max_length=100)
    source = models.ForeignKey(
        DataSource, on_delete=models.PROTECT, related_name="cards", verbose_name=_("data source")
    )
    # --- Guandata -----------------------------------------------------------------------------------------------------
    bi_page_id = models.CharField(_("page in the BI"), max_length=100, blank=True)
    bi_card_id = models.CharField(_("card in the BI"), max_length=100, blank=True)
    bi_view = models.CharField(_("asked for"), max_length=5, choices=CardView.choices, default=CardView.GRID)
    # [{"name", "filterType", "filterValue"}], as the BI takes them.
    bi_filters = models.JSONField(_("filters"), default=list, blank=True)
    # As the BI takes them, whatever its version asks for.
    bi_parameters = models.JSONField(_("dynamic parameters"), default=list, blank=True)
    # --- SQL ----------------------------------------------------------------------------------------------------------
    sql = models.TextField(_("query"), blank=True)
    # {name: value} for each :name of the query.
    sql_parameters = models.JSONField(_("values of the parameters"), default=dict, blank=True)
    # --- JSON over HTTP -----------------------------------------------------------------------------------------------
    http_method = models.CharField(_("method"), max_length=4, choices=HttpMethod.choices, default=HttpMethod.GET)
    http_path = models.CharField(_("path and query"), max_length=1000, blank=True)
    http_body = models.JSONField(pgettext_lazy("request", "body"), null=True, blank=True)
    expression = models.CharField(_("JMESPath to the rows"), max_length=1000, blank=True)
    # --- What the source does not say ---------------------------------------------------------------------------------
    # {column: "number"}: a Kind, where what is found in the column is not meant.
    kinds = models.JSONField(_("kinds"), default=dict, blank=True)
    # {column: "元"}
    units = models.JSONField(_("units"), default=dict, blank=True)
    # Whose latest value says of when the data is, where the source itself does not.
    as_of_column = models.CharField(_("column of the data's time"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = CardQuerySet.as_manager()

    class Meta:
        verbose_name = _("card")
        verbose_name_plural = _("cards")
        ordering = ("name", "pk")
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="one_card_per_source_and_name")]

    def __str__(self) -> str:
        return self.name


class CardDataQuerySet(LeasedQuerySet["CardData"]):
    def waiting(self) -> CardDataQuerySet:
        return self.filter(status=CardData.Status.WAITING)

    def finished(self) -> CardDataQuerySet:
        return self.exclude(status=CardData.Status.WAITING)

    def due(self, now: Moment) -> CardDataQuerySet:
        """To be fetched now, and in nobody's hands."""
        return self.waiting().free(now).filter(next_try_at__lte=now)

    def in_hand(self, now: datetime) -> CardDataQuerySet:
        """Being fetched by a worker."""
        return self.waiting().filter(lease_until__gt=now)

    def previews(self) -> CardDataQuerySet:
        """For people who wait at a page."""
        return self.filter(slot_at__isnull=True)


class CardData(Leased):
    """The answer of a card for one slot, shared by everything that goes out in that slot; or for a page on which
    somebody waits: as it is then, fetched with one try, and forgotten soon."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        READY = "ready", _("ready")
        FAILED = "failed", _("failed")

    card = models.ForeignKey(Card, on_delete=models.CASCADE, related_name="answers", verbose_name=_("card"))
    # None: for a page.
    slot_at = models.DateTimeField(_("for"), null=True)
    # Unused; processes of release 1.0.0 select it during an upgrade.
    day = models.DateField(null=True)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    # A table's document, compressed; empty unless ready.
    content = models.BinaryField(default=b"", editable=False)
    row_count = models.PositiveIntegerField(_("rows"), default=0)
    took_milliseconds = models.PositiveIntegerField(_("took (ms)"), default=0)
    # Which sentence says why there is no data (integrations.models.datasource_messages), and what stands in it.
    problem_code = models.CharField(max_length=32, blank=True)
    problem_facts = models.JSONField(default=dict, blank=True)
    try_count = models.PositiveSmallIntegerField(_("tries"), default=0)
    requested_at = models.DateTimeField(_("asked for"))
    next_try_at = models.DateTimeField()
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    # When those who wait for it were notified; null before.
    notified_at = models.DateTimeField(null=True)

    objects = CardDataQuerySet.as_manager()

    class Meta:
        verbose_name = _("data of a card")
        verbose_name_plural = _("data of cards")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["card", "slot_at"], name="one_answer_per_card_and_slot"),
            models.CheckConstraint(
                condition=Q(status="waiting") | Q(finished_at__isnull=False), name="finished_card_data_says_when"
            ),
        ]
        indexes = [
            # The sweep: what is to be fetched, and whom nobody has notified yet.
            models.Index(fields=["next_try_at"], name="card_data_waiting", condition=Q(status="waiting")),
            models.Index(
                fields=["finished_at"],
                name="card_data_unnotified",
                condition=Q(finished_at__isnull=False, notified_at__isnull=True),
            ),
            # Purging.
            models.Index(fields=["requested_at"], name="card_data_age"),
            models.Index(fields=["requested_at"], name="card_data_previews", condition=Q(slot_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.card_id} {self.slot_at:%Y-%m-%d %H:%M:%S}" if self.slot_at else f"{self.card_id} of a page"

    @property
    def is_lost(self) -> bool:
        """Whether the source refused the query, or does not know what it asks for: asking again changes nothing."""
        return self.status == self.Status.FAILED and self.problem_code in LOST

    def is_in_hand(self, now: datetime) -> bool:
        """Whether a worker is fetching it."""
        return self.status == self.Status.WAITING and self.lease_until is not None and self.lease_until > now

    @property
    def table(self) -> Table:
        """What came. Raises ValueError unless the status is ready."""
        if self.status != self.Status.READY:
            raise ValueError("there is no data")
        return from_document(json.loads(zlib.decompress(self.content)))

    @property
    def problem(self) -> str:
        """Why there is no data, for the owner, in the language in force; empty where nothing failed.

        Never holds an address, a credential or a value of the data.
        """
        return datasource_messages.sentence(self.problem_code, self.problem_facts) if self.problem_code else ""


def packed(table: Table) -> bytes:
    """A table as CardData keeps it."""
    document = json.dumps(to_document(table), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return zlib.compress(document.encode(), level=6)


def _of_visible_corps(person: Person, prefix: str) -> Q:
    if not corp_condition(person):
        return Q()
    return Q(**{f"{prefix}corp__in": Corp.objects.visible_to(person)})


def _of_no_corp(person: Person, prefix: str) -> Q:
    return Q(**{f"{prefix}corp__isnull": True}) if corp_condition(person) else NOTHING
