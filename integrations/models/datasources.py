"""The BI, data sources, cards with their queries, the fetched data, and the sentences for problems."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.clients.sources.addresses import DatabasePrivilege
from integrations.data import Problem
from integrations.data.table import Table, from_document, to_document
from integrations.models.companies import Corp
from integrations.models.fields import EncryptedTextField, Person, corp_condition
from integrations.models.installation import SINGLETON_PK
from integrations.models.jobs import Moment

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

_may_reader_see_network: ContextVar[Callable[[], bool]] = ContextVar("may_reader_see_network", default=lambda: False)


@contextmanager
def set_network_access(may_see_network: Callable[[], bool]) -> Iterator[None]:
    """Set for the block whether the reader of sentences may learn details of the network: `may_see_network` decides."""
    token = _may_reader_see_network.set(may_see_network)
    try:
        yield
    finally:
        _may_reader_see_network.reset(token)


def explain_problem(code: str, facts: Mapping[str, Any]) -> str:
    """Return the sentence of a problem in the active language. A code of another version is an unexpected problem.

    Only superusers learn whether a port is closed or silent (`set_network_access`): others could enter addresses as
    sources to find out what runs in the network.
    """
    if not _may_reader_see_network.get()() and (code == Problem.UNREACHABLE or facts.get("silent")):
        return str(_SENTENCES["silence"])
    reason = f"{code}-{facts.get('reason', '')}"
    sentence = str(_SENTENCES.get(reason) or _SENTENCES.get(code, _SENTENCES[Problem.UNEXPECTED]))
    column = {"column": facts.get("column", "")}
    # The words for values of `what` and `missing`; other values are numbers, codes or names.
    words: dict[str, StrOrPromise] = {
        "bi": _("the BI's address or API user"),
        "bi-address": _("the BI's address"),
        "app-token": _("the BI's app token"),
        "address": _("the address of the service"),
        "encoding": _("its character encoding or its compression is broken"),
        "empty": _("it is empty"),
        "not-json": _("it is no JSON"),
        "deep": _("it is nested too deeply"),
        "web-page": _("a web page, perhaps one to sign in"),
        "expression": _("it does not fit what is there"),
        "nothing": _("it finds nothing"),
        "memory": _("it needs too much memory"),
        **describe_address_flaws(str(facts.get("detail", ""))),
        "answer": _("no answer of the BI"),
        "header": _("a header that fits no column"),
        "rows": _("malformed rows"),
        "uneven": _("its rows differ in length"),
        "columns": _("it has too many columns"),
        "no-columns": _("it has no columns"),
        "no-time-column": _("the column “%(column)s”, chosen for the time of the data, is missing") % column,
        "beyond": _("it holds a date or time that cannot be stored, such as infinity or the year 10000"),
        "not-datetime": _("the column “%(column)s” holds something that is no time") % column,
    }
    try:
        return sentence % {name: words.get(str(value), value) for name, value in facts.items()}
    except (KeyError, TypeError, ValueError):  # facts of another version
        return str(_SENTENCES[Problem.UNEXPECTED]) % {"error": code}


def describe_privileges(privileges: str) -> str:
    """Name the rights of a database account beyond reading tables. `privileges`: DatabasePrivileges, separated by
    commas."""
    words = {DatabasePrivilege.SUPERUSER: _("superuser"), DatabasePrivilege.FILES: _("reads files")}
    return _(", ").join(str(words[DatabasePrivilege(name)]) for name in privileges.split(",") if name in words)


def describe_address_flaws(detail: str) -> dict[str, StrOrPromise]:
    """Return sentences on why a database address is refused, by `what` of the error."""
    facts = {"detail": detail}
    return {
        "no-address": _("This is no address of a database. Write kind://user:password@host:port/database."),
        "no-driver": _("This kind of database is not admitted (%(detail)s): see docs/en/data-sources.md.") % facts,
        "no-host": _("The host is missing, or is not a single one."),
        "no-database": _("The name of the database is missing behind the last slash."),
        "option": _("The option %(detail)s is not admitted: leave it out.") % facts,
    }


_SENTENCES = {
    "silence": _(
        "The data source gave no answer. Check that it runs, its address, the firewall and its time limit, or ask "
        "for less. A superuser sees more."
    ),
    Problem.SOURCE_OFF: _("The data source is switched off. Switch it on, or choose another for this data."),
    Problem.NOT_SET_UP: _("The data source is not set up completely: %(missing)s is missing."),
    Problem.KEY_MISSING: _(
        "The credentials of the data source cannot be read: a key is missing in FIELD_ENCRYPTION_KEYS. Restore "
        "the key, or enter the credentials again."
    ),
    Problem.UNREACHABLE: _(
        "The data source could not be reached (%(reason)s). Check that it runs, its address, and the firewall."
    ),
    "unreachable-dns": _(
        "No host of this name is known. Check how it is spelt, and that the DNS of this server knows it."
    ),
    "unreachable-refused": _(
        "Nothing answers at this host and port. Check the port, and that the data source runs and takes connections "
        "from other machines."
    ),
    "unreachable-timeout": _(
        "The host does not answer. Check the address, and that the firewall lets this server through to the port."
    ),
    "unreachable-tls": _(
        "The port answers, but no encrypted connection (TLS) came about. Check the port, and whether the data source "
        "speaks TLS."
    ),
    Problem.TOO_SLOW: _("The data source took longer than %(seconds)s seconds. Ask for less, or raise its time limit."),
    Problem.TOO_BIG: _("The answer is larger than %(megabytes)s MB. Ask for fewer rows or columns."),
    Problem.CREDENTIALS_REFUSED: _(
        "The data source refuses the credentials. Enter them again, or let its administrator admit this account."
    ),
    Problem.NO_RIGHT: _(
        "The account may not read what is asked for. Let the database's administrator give it the right to connect to "
        "the database, and to read the tables."
    ),
    Problem.NO_DATABASE: _("The server has no database of this name. Check the name of the database."),
    Problem.NO_TLS: _(
        "No encrypted connection (TLS) came about. Switch TLS on at the data source, or connect without: take the CA "
        "bundle, or the option sslmode, out."
    ),
    Problem.NOT_FOUND: _(
        "The data source does not know what is asked for: it was deleted or renamed. Choose it anew under Data."
    ),
    Problem.REFUSED: _("The data source refuses the query (code %(code)s). Check the settings of the data."),
    Problem.BROKEN: _("The data source answers with an error of its own (HTTP %(status)s). Try again later."),
    Problem.BUSY: _(
        "The data source is busy: something that the query needs is locked, or there are too many queries."
    ),
    Problem.NOT_UNDERSTOOD: _(
        "The answer of the data source is not of the form that was expected (%(what)s). Check the settings of the data."
    ),
    Problem.NO_TABLE: _("The answer is no table: %(what)s."),
    Problem.CERTIFICATE: _(
        "The certificate of the data source is not trusted. Renew it there, or paste its authority as CA bundle."
    ),
    Problem.ADDRESS_REFUSED: _("The address of the database is refused: %(what)s Enter another in the data source."),
    Problem.ADDRESS_FORBIDDEN: _(
        "The address leads into an internal network, which this source may not enter. A superuser can allow it: by the "
        "tick “may be in the internal network”."
    ),
    Problem.ADDRESS_NEVER: _(
        "The address leads to where no data source may go, such as the metadata of a cloud. Enter another."
    ),
    Problem.LOOPBACK_FORBIDDEN: _(
        "The address leads to this machine itself. Where everything runs on one machine, set DATA_ALLOW_LOOPBACK, "
        "and let a superuser tick “may be in the internal network”."
    ),
    Problem.DRIVER_UNCHECKED: _(
        "Nobody can check where the driver of this kind of database connects to. A superuser can allow the source "
        "the internal network, and so all addresses."
    ),
    Problem.REDIRECTED: _(
        "The service sends the question on to another address, which is not followed. Enter the final address."
    ),
    Problem.QUERY_REFUSED: _("The database refuses the query (%(code)s). Try it there, then correct it here."),
    Problem.NOT_A_QUERY: _("Only one query that reads can be asked: one SELECT, without a semicolon inside."),
    Problem.PARAMETER_MISSING: _("The parameter “%(name)s” of the query has no value. Set it under Data."),
    Problem.DRIVER_MISSING: _(
        "No driver for this kind of database is installed or admitted (%(driver)s). See docs/en/data-sources.md."
    ),
    Problem.EXPRESSION: _("The JMESPath expression fails on this answer: %(what)s. Correct it under Data."),
    Problem.UNEXPECTED: _("The data could not be read because of an error in this program (%(error)s)."),
}


# Guandata's default domain ID.
USUAL_DOMAIN = "guanbi"


class BiConnection(models.Model):
    """The BI platform of this site, in one row (docs/decisions/0016)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK, editable=False)
    is_enabled = models.BooleanField(
        _("people can open the BI from this site"),
        default=False,
        help_text=_("Off: nobody is signed in to the BI, and every link leads to a page of this site."),
    )
    base_url = models.CharField(
        _("address of the BI"),
        max_length=255,
        blank=True,
        help_text=_("The address that people open in the browser, without a page: https://bi.example.com."),
    )
    # --- Identity of people -------------------------------------------------------------------------------------------
    provider = models.CharField(
        "provider",
        max_length=64,
        default=USUAL_DOMAIN,
        help_text=_("The name of the sign-on provider, exactly as in the BI. Since December 2019 it is the domain ID."),
    )
    domain_id = models.CharField(
        "domainId",
        max_length=64,
        blank=True,
        help_text=_("Only for versions before 5.9, usually guanbi."),
    )
    external_id_source = models.CharField(
        _("identity in the BI"),
        max_length=100,
        # An attribute that only administrators of all companies set (accounts.users.bi_identity).
        default="bi_login_id",
        help_text=_("The value of a person that is their account in the BI. It is sent as externalUserId."),
    )
    private_key = EncryptedTextField(_("private key"), blank=True, editable=False)
    key_saved_at = models.DateTimeField(_("key saved"), null=True, editable=False)
    token_seconds = models.PositiveSmallIntegerField(
        _("lifetime of a token (seconds)"),
        default=60,
        validators=[MinValueValidator(10), MaxValueValidator(300)],
        help_text=_(
            "From 10 to 300. A token is made at the click and used at once: make it as short as the clocks allow."
        ),
    )
    # --- Addresses of its pages ---------------------------------------------------------------------------------------
    desktop_page = models.CharField(_("page on a computer"), max_length=200, default="/page/{id}")
    phone_page = models.CharField(
        _("page on a phone"),
        max_length=200,
        blank=True,
        default="/m/page/{id}?pageRenderType=phoneView",
        help_text=_("Empty: the same as on a computer. {id} stands for the page."),
    )
    desktop_home = models.CharField(_("first page on a computer"), max_length=200, default="/")
    phone_home = models.CharField(_("first page on a phone"), max_length=200, default="/")
    routed_paths = models.CharField(
        _("pages behind path_url"),
        max_length=200,
        blank=True,
        default="survey-engine",
        help_text=_(
            "Beginnings of paths that the BI opens only through its first page, separated by commas. Its forms are "
            "an example: /?path_url=survey-engine/…"
        ),
    )
    # --- Its public API -----------------------------------------------------------------------------------------------
    api_domain = models.CharField(_("domain of the API user"), max_length=64, blank=True, default=USUAL_DOMAIN)
    api_login = models.CharField(
        _("API user"),
        max_length=128,
        blank=True,
        help_text=_("Login name or e-mail of the BI user that reads the data. Optional."),
    )
    api_password = EncryptedTextField(_("password of the API user"), blank=True)
    app_token = EncryptedTextField(_("app token"), blank=True)
    proxy_url = EncryptedTextField(_("proxy"), blank=True, help_text=_("http://user:password@host:port, if needed."))
    ca_bundle = models.TextField(_("CA bundle"), blank=True, help_text=_("PEM certificates of a private authority."))
    # --- Its last test, which counts only for its own version ---------------------------------------------------------
    connection_version = models.PositiveIntegerField(default=1, editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    checked_version = models.PositiveIntegerField(default=0, editable=False)
    check_results = models.JSONField(default=list, editable=False)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("BI platform")
        verbose_name_plural = _("BI platform")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=SINGLETON_PK), name="one_bi_connection")]

    def __str__(self) -> str:
        return self.base_url or str(_("BI platform"))

    @property
    def has_key(self) -> bool:
        """True if a key is stored. It is known by its time, without decrypting the key."""
        return self.key_saved_at is not None


SECONDS_AT_MOST = 120
ROWS_AT_MOST = 100_000
# Columns of DataSource that are loaded only where they are used.
SECRETS = ("sql_url", "http_headers")
# Problems that a retry does not solve: the source refuses the card's query or does not know what it asks for.
UNRETRYABLE = frozenset({Problem.NOT_FOUND, Problem.REFUSED, Problem.NO_TABLE})


class SourceKind(models.TextChoices):
    GUANDATA = "guandata", _("Cards of the BI (Guandata)")
    SQL = "sql", _("Database (SQL)")
    JSON = "json", _("Web service (JSON over HTTP)")


Scoped = TypeVar("Scoped", bound=models.Model)


class ScopedQuerySet(models.QuerySet[Scoped]):
    """Rows that belong to the company of a data source. `corp_path`: the ORM's path from a row to that company."""

    corp_path = "corp"

    def visible_to(self, person: Person) -> Self:
        """Filter rows of companies that `person` sees; if the person sees all, also rows without a company."""
        return (
            self.filter(**{f"{self.corp_path}__in": Corp.objects.visible_to(person)})
            if corp_condition(person)
            else self
        )

    def hidden_from(self, person: Person) -> Self:
        """Filter rows that `person` may not see, but may know to exist: rows without a company."""
        return self.filter(**{f"{self.corp_path}__isnull": True}) if corp_condition(person) else self.none()


class DataSourceQuerySet(ScopedQuerySet["DataSource"]):
    def slow(self) -> DataSourceQuerySet:
        """Filter sources whose last answer exceeded their time limit."""
        return self.filter(slow_since__isnull=False)


class DataSource(models.Model):
    """A data source. Its kind decides which columns are used."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=16, choices=SourceKind.choices)
    is_enabled = models.BooleanField(
        pgettext_lazy("switch", "enabled"),
        default=True,
        help_text=_("Off: no data is fetched. Pushes and alerts that need it say so."),
    )
    corp = models.ForeignKey(
        Corp,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="data_sources",
        verbose_name=_("company"),
        help_text=_("Administrators and editors of this company may use it. Empty: only people who see all companies."),
    )
    timeout_seconds = models.PositiveSmallIntegerField(
        _("time limit in seconds"),
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(SECONDS_AT_MOST)],
        help_text=_("From 1 to 120, for one whole answer. A slower query counts as failed."),
    )
    row_limit = models.PositiveIntegerField(
        _("maximum number of rows"),
        default=10_000,
        validators=[MinValueValidator(1), MaxValueValidator(ROWS_AT_MOST)],
        help_text=_("From 1 to 100,000. Of a longer answer only the first rows are kept, and the message says so."),
    )
    parallel_limit = models.PositiveSmallIntegerField(
        _("parallel queries"),
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(16)],
        help_text=_("From 1 to 16. Further queries wait, so that a slow source does not delay other sources."),
    )
    # --- SQL ----------------------------------------------------------------------------------------------------------
    sql_url = EncryptedTextField(_("address of the database"), blank=True)
    # The account's rights beyond reading tables (DatabasePrivileges, with commas), as the database last reported them.
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
        help_text=_("Only a superuser may tick this. It allows addresses that the internet cannot reach."),
    )
    ca_bundle = models.TextField(_("CA bundle"), blank=True, help_text=_("PEM certificates of a private authority."))
    # Since when fetches hit the time limit; NULL if the last one did not (integrations.datasources.fetch).
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


class CardQuerySet(ScopedQuerySet["Card"]):
    corp_path = "source__corp"


class CardView(models.TextChoices):
    """The form in which the BI returns a card's data."""

    GRID = "GRID", _("as a table (GRID)")
    GRAPH = "GRAPH", _("as the chart draws it (GRAPH)")


class HttpMethod(models.TextChoices):
    GET = "GET", "GET"
    POST = "POST", "POST"


class Card(models.Model):
    """A query to one source; its answer is one Table."""

    name = models.CharField(_("name"), max_length=100)
    source = models.ForeignKey(
        DataSource, on_delete=models.PROTECT, related_name="cards", verbose_name=_("data source")
    )
    # --- Guandata -----------------------------------------------------------------------------------------------------
    bi_page_id = models.CharField(_("page in the BI"), max_length=100, blank=True)
    bi_card_id = models.CharField(_("card in the BI"), max_length=100, blank=True)
    bi_view = models.CharField(_("how it is read"), max_length=5, choices=CardView.choices, default=CardView.GRID)
    # [{"name", "filterType", "filterValue"}] in the BI's format.
    bi_filters = models.JSONField(_("filters"), default=list, blank=True)
    # In the BI's format, which depends on its version.
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
    # --- Choices that override what the source gives ------------------------------------------------------------------
    # {column: "number"}: a Kind, or "ratio", that overrides the detected kind.
    kinds = models.JSONField(_("kinds"), default=dict, blank=True)
    # {column: "元"}
    units = models.JSONField(_("units"), default=dict, blank=True)
    # The column whose latest value is the time of the data; empty: no column was chosen.
    as_of_column = models.CharField(_("column with the time of the data"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = CardQuerySet.as_manager()

    class Meta:
        verbose_name = _("data")
        verbose_name_plural = _("data")
        ordering = ("name", "pk")
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="one_card_per_source_and_name")]

    def __str__(self) -> str:
        return self.name


class CardDataQuerySet(models.QuerySet["CardData"]):
    def waiting(self) -> CardDataQuerySet:
        return self.filter(status=CardData.Status.WAITING)

    def finished(self) -> CardDataQuerySet:
        return self.exclude(status=CardData.Status.WAITING)

    def free(self, now: Moment) -> CardDataQuerySet:
        """Filter rows that no worker holds."""
        return self.filter(Q(lease_until__isnull=True) | Q(lease_until__lte=now))

    def held_by(self, pk: int, token: str) -> CardDataQuerySet:
        """Filter the row if the worker with this token has it. An expired lease counts until another claims it."""
        return self.filter(pk=pk, lease_token=token)

    def due(self, now: Moment) -> CardDataQuerySet:
        """Filter rows to be fetched now that no worker holds."""
        return self.waiting().free(now).filter(next_try_at__lte=now)

    def being_fetched(self, now: datetime) -> CardDataQuerySet:
        """Filter rows that a worker is fetching."""
        return self.waiting().filter(lease_until__gt=now)

    def previews(self) -> CardDataQuerySet:
        """Filter rows for pages on which people wait."""
        return self.filter(slot_at__isnull=True)


class CardData(models.Model):
    """A card's answer for one slot, shared by everything sent in that slot; or a preview, for a page on which somebody
    waits: the present data, fetched with one try, and soon deleted.

    One worker at a time holds a row. It writes only while its token is stored, and renews the lease."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        READY = "ready", _("ready")
        FAILED = "failed", _("failed")

    card = models.ForeignKey(Card, on_delete=models.CASCADE, related_name="answers", verbose_name=_("data"))
    # NULL: a preview.
    slot_at = models.DateTimeField(_("scheduled for"), null=True)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    # A table's document, compressed; empty unless ready.
    content = models.BinaryField(default=b"", editable=False)
    row_count = models.PositiveIntegerField(_("rows"), default=0)
    took_milliseconds = models.PositiveIntegerField(_("duration (ms)"), default=0)
    # The Problem, which is why there is no data, and the values for its sentence (explain_problem).
    problem_code = models.CharField(max_length=32, blank=True)
    problem_facts = models.JSONField(default=dict, blank=True)
    try_count = models.PositiveSmallIntegerField(_("tries"), default=0)
    requested_at = models.DateTimeField(_("requested"))
    next_try_at = models.DateTimeField()
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    lease_token = models.CharField(max_length=32, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    # When the functions of `card_data_finished` were called; NULL before.
    notified_at = models.DateTimeField(null=True)

    objects = CardDataQuerySet.as_manager()

    class Meta:
        verbose_name = _("fetched data")
        verbose_name_plural = _("fetched data")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["card", "slot_at"], name="one_answer_per_card_and_slot"),
            models.CheckConstraint(
                condition=Q(status="waiting") | Q(finished_at__isnull=False), name="finished_card_data_says_when"
            ),
        ]
        indexes = [
            # For the sweep: rows to fetch, and rows not notified yet.
            models.Index(fields=["next_try_at"], name="card_data_waiting", condition=Q(status="waiting")),
            models.Index(
                fields=["finished_at"],
                name="card_data_unnotified",
                condition=Q(finished_at__isnull=False, notified_at__isnull=True),
            ),
            # For purging.
            models.Index(fields=["requested_at"], name="card_data_age"),
            models.Index(fields=["requested_at"], name="card_data_previews", condition=Q(slot_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.card_id} {self.slot_at:%Y-%m-%d %H:%M:%S}" if self.slot_at else f"{self.card_id} of a page"

    @property
    def is_retry_useless(self) -> bool:
        """True if the source refused or did not know the query, so that another try is useless."""
        return self.status == self.Status.FAILED and self.problem_code in UNRETRYABLE

    @property
    def table(self) -> Table:
        """The fetched table. Raises ValueError unless the status is ready."""
        if self.status != self.Status.READY:
            raise ValueError("there is no data")
        return from_document(json.loads(zlib.decompress(self.content)))

    @property
    def problem(self) -> str:
        """The sentence for the owner on why there is no data, in the active language; empty without a failure.

        It never holds an address, a credential or a value of the data.
        """
        return explain_problem(self.problem_code, self.problem_facts) if self.problem_code else ""


def compress_table(table: Table) -> bytes:
    """Return a table in the form that CardData stores."""
    document = json.dumps(to_document(table), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return zlib.compress(document.encode(), level=6)
