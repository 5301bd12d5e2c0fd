"""The connected WeCom companies, their site addresses and files, and work about one company."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.models.fields import EncryptedTextField, Person, corp_condition

DEFAULT_SITE_ADDRESS = "http://localhost:3001/"
# The columns of a company that both steps of a sign-in need.
_SIGN_IN_COLUMNS = ("name", "corpid", "agentid", "is_enabled", "sign_in_enabled", "home_page", "home_bi_page")
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


def is_local_host(host: str) -> bool:
    """Return whether `host` names this machine itself, so that no other machine reaches it by this name."""
    return host in LOOPBACK_HOSTS or host.endswith(".localhost")


class SiteAddressQuerySet(models.QuerySet["SiteAddress"]):
    def default(self) -> SiteAddress:
        """Return the default address. If it is missing, make the initial one the default."""
        stored = self.filter(is_default=True).first()
        return stored or self.update_or_create(url=DEFAULT_SITE_ADDRESS, defaults={"is_default": True})[0]

    def without_https(self) -> Self:
        return self.filter(url__startswith="http://")

    def visible_to(self, person: Person) -> Self:
        """Filter addresses of companies that `person` may see, unused ones, and the default one."""
        in_their_corps = Q(corp__in=Corp.objects.visible_to(person))
        return self.filter(pk__in=self.filter(in_their_corps | Q(corp__isnull=True) | Q(is_default=True)).values("pk"))


class SiteAddress(models.Model):
    """An address of this site. Callback domain, trusted domain and home page derive from it.

    One address is the default; a company with its own domain uses another.
    """

    url = models.CharField(
        _("site address"),
        max_length=255,
        unique=True,
        error_messages={"unique": _("This site address exists already.")},
        help_text=_(
            "The address at which employees reach this site, with scheme and, if needed, port: https://bi.example.com/."
        ),
    )
    is_default = models.BooleanField(_("default"), default=False)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)
    # When the certificate at this address expires, as last seen; NULL: not https, or nothing answered.
    certificate_ends_at = models.DateTimeField(null=True, editable=False, db_default=None)
    certificate_checked_at = models.DateTimeField(null=True, editable=False, db_default=None)

    objects = SiteAddressQuerySet.as_manager()

    class Meta:
        verbose_name = _("site address")
        verbose_name_plural = _("site addresses")
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="one_default_site_address"
            )
        ]

    def __str__(self) -> str:
        return self.url

    def clean(self) -> None:
        if settings.HOST_COOKIES and self.url.startswith("http://"):
            text = _("HOST_COOKIES is on: nobody could sign in under an address without https.")
            raise ValidationError({"url": ValidationError(text, code="https")})

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def domain(self) -> str:
        """Host and port without scheme: the value for trusted domain and callback domain in WeCom's console."""
        return urlsplit(self.url).netloc

    @property
    def is_local(self) -> bool:
        """True for an address that only this machine reaches, such as the initial one."""
        return is_local_host(urlsplit(self.url).hostname or "")

    def absolute(self, path: str) -> str:
        """Return the address of `path`, which begins with a slash."""
        return self.url.rstrip("/") + path


class CorpQuerySet(models.QuerySet["Corp"]):
    def enabled(self) -> Self:
        return self.filter(is_enabled=True)

    def ever_enabled(self) -> Self:
        return self.filter(Q(is_enabled=True) | Q(first_enabled_at__isnull=False))

    def signing_in(self) -> Self:
        """Filter companies whose people can sign in with WeCom."""
        return self.filter(is_enabled=True, sign_in_enabled=True)

    def load_for_start(self, pk: int) -> Corp | None:
        """Return the company with only the columns for starting a sign-in, and `site_url`, its site address."""
        return self._load_for_sign_in(pk, "authorize_base_url", "qr_base_url", "site_address_id")

    def load_for_callback(self, pk: int) -> Corp | None:
        """Return the company with `site_url` and only the columns for the call to WeCom that ends a sign-in. No other
        secret is decrypted."""
        return self._load_for_sign_in(pk, "secret", "api_base_url", "proxy_url", "ca_bundle", "department_root_ids")

    def _load_for_sign_in(self, pk: int, *columns: str) -> Corp | None:
        """Read one company and `site_url` by an SQL statement of our own: building the ORM's statement would take an
        eighth of a sign-in's processor time (benchmarks/sign_in.py)."""
        names = ", ".join(f"corp.{name}" for name in ("id", *_SIGN_IN_COLUMNS, *columns))
        statement = f"""
            SELECT {names}, site.url AS site_url
              FROM integrations_corp AS corp
              LEFT JOIN integrations_siteaddress AS site
                     ON CASE WHEN corp.site_address_id IS NULL THEN site.is_default
                             ELSE site.id = corp.site_address_id END
             WHERE corp.id = %s
        """  # noqa: S608  # nosec B608  # the names are written in this module
        return next(iter(self.raw(statement, [pk])), None)

    def at_address(self, address: SiteAddress) -> Self:
        """Filter companies whose links derive from `address`."""
        own = Q(site_address=address)
        return self.filter(own | Q(site_address__isnull=True) if address.is_default else own)

    def visible_to(self, person: Person) -> Self:
        return self.filter(corp_condition(person))

    def keys_visible_to(self, person: Person) -> list[int]:
        """Return primary keys for conditions on large tables, which PostgreSQL plans far better with keys than with a
        subquery.

        Takes one query, or none for a person who sees nothing.
        """
        return list(self.visible_to(person).order_by().values_list("pk", flat=True))


class HomePage(models.TextChoices):
    OURS = "ours", _("the home page of this site")
    BI = "bi", _("the BI, or a page of it")


class CredentialsState(models.TextChoices):
    """The state of a new AgentId and Secret, which are used once WeCom confirms that they belong together."""

    WAITING = "waiting"
    REFUSED = "refused"
    IN_FORCE = "in_force"


class Corp(models.Model):
    """A company in WeCom with its self-built app. A company with two apps has two rows."""

    name = models.CharField(
        _("WeCom company name"),
        max_length=64,
        unique=True,
        error_messages={"unique": _("Another WeCom company has this name already. People could not tell them apart.")},
        help_text=_("Shown to people who choose a company."),
    )
    corpid = models.CharField(
        "CorpId",
        max_length=64,
        validators=[
            RegexValidator(r"^w[wx][0-9A-Za-z]{16}$", _("A CorpId has 18 characters and begins with ww or wx."))
        ],
        help_text=_("In WeCom's console: My company → Company information → Company ID, at the bottom of the page."),
    )
    agentid = models.PositiveBigIntegerField(
        "AgentId",
        validators=[MinValueValidator(1)],
        help_text=_("In WeCom's console: App management → the app's page."),
    )
    secret = EncryptedTextField(
        "Secret", help_text=_("In WeCom's console: App management → the app's page. Stored encrypted, never shown.")
    )
    contacts_secret = EncryptedTextField(_("contacts secret"), blank=True)
    contacts_callback_token = EncryptedTextField(_("contacts callback Token"), blank=True)
    contacts_callback_aes_key = EncryptedTextField(_("contacts callback EncodingAESKey"), blank=True)
    callback_token = EncryptedTextField(_("callback Token"), blank=True)
    callback_aes_key = EncryptedTextField(_("callback EncodingAESKey"), blank=True)
    # When WeCom last checked a callback address and got the right answer, with the present keys.
    callback_verified_at = models.DateTimeField(_("callback address verified"), null=True, editable=False)
    contacts_callback_verified_at = models.DateTimeField(
        _("contacts callback address verified"), null=True, editable=False
    )
    # When an event about people was last processed.
    people_event_at = models.DateTimeField(null=True, editable=False)
    # Addresses from which this site calls WeCom, entered by an administrator: WeCom names one only when it refuses it.
    noted_ips = models.JSONField(
        _("public addresses of this server"),
        default=list,
        blank=True,
        help_text=_(
            "Separated by semicolons. Only needed with several outgoing addresses, or before WeCom has refused one."
        ),
    )
    department_root_ids = models.JSONField(
        _("department roots"),
        default=list,
        blank=True,
        help_text=_("IDs of the departments to copy, separated by commas. Empty: every department that the app sees."),
    )
    domain_id = models.CharField(
        "domain_id",
        max_length=128,
        blank=True,
        help_text=_("The domain parameter of the home page link. May be left empty in private deployments."),
    )
    site_address = models.ForeignKey(
        SiteAddress,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        verbose_name=_("own site address"),
        help_text=_("Only for a company whose domain differs from the default site address."),
    )
    # Base addresses of WeCom's API and pages, without path: the sandbox and private editions of WeCom have others.
    api_base_url = models.CharField(_("API address"), max_length=255, default="https://qyapi.weixin.qq.com")
    authorize_base_url = models.CharField(
        _("address of the authorise page"), max_length=255, default="https://open.weixin.qq.com"
    )
    qr_base_url = models.CharField(
        _("address of the QR page"), max_length=255, default="https://login.work.weixin.qq.com"
    )
    proxy_url = EncryptedTextField(_("proxy"), blank=True, help_text=_("http://user:password@host:port, if needed."))
    ca_bundle = models.TextField(_("CA bundle"), blank=True, help_text=_("PEM certificates of a private authority."))
    sign_in_enabled = models.BooleanField(
        _("sign-in with WeCom"),
        default=True,
        help_text=_("Off: people only receive pushes; the app's home page is the plain address of the login page."),
    )
    # Anybody who controls the app, the console or the directory in WeCom decides whom WeCom identifies.
    admin_rights_enabled = models.BooleanField(
        _("administrators' rights after a sign-in with WeCom"),
        default=False,
        db_default=False,
        help_text=_(
            "On: superusers, and administrators of more than this company, may use their rights after a sign-in with "
            "WeCom through this company. Off: they enter the administration with their password. The people who "
            "control this company's app, console or directory in WeCom decide who somebody is there, so leave it off "
            "unless they may have every right here. On for the first company, also when others are added."
        ),
    )
    # The target of a link without a page. Unless people can open the BI from here, it is always this site's home page.
    home_page = models.CharField(
        _("home page"),
        max_length=8,
        choices=HomePage.choices,
        default=HomePage.OURS,
        help_text=_("The page that opens when somebody taps the app, or signs in without asking for a certain page."),
    )
    home_bi_page = models.CharField(
        _("page of the BI"),
        max_length=640,
        blank=True,
        help_text=_("Its path, such as page/abc, or its whole address. Empty: the BI's first page."),
    )
    bi_sign_in_enabled = models.BooleanField(
        _("sign-in to the BI"),
        default=True,
        help_text=_("Whether people of this company can open the BI from this site, once a BI is connected."),
    )
    # The files WW_verify_<code>.txt, served at the root of every address: they prove to WeCom that a domain is ours.
    # Each holds only its code, so an entry is {"code", "uploaded_at"}. WeCom may give two apps the same file.
    verification_files = models.JSONField(_("verification files"), default=list, editable=False)
    # The last new AgentId and Secret, and WeCom's last answer: problem, facts, errcode and caller_ip as in CheckRun.
    # Once they are in force, only this copy of the Secret is emptied: the page shows since when they are in force.
    staged_agentid = models.PositiveBigIntegerField(_("new AgentId"), null=True, editable=False)
    staged_secret = EncryptedTextField(_("new Secret"), blank=True, editable=False)
    staged_state = models.CharField(max_length=8, choices=CredentialsState.choices, blank=True, editable=False)
    staged_by = models.CharField(max_length=255, blank=True, editable=False)
    staged_at = models.DateTimeField(null=True, editable=False)
    staged_finding = models.JSONField(default=dict, editable=False)
    in_force_since = models.DateTimeField(null=True, editable=False)
    is_enabled = models.BooleanField(_("enabled"), default=False)
    first_enabled_at = models.DateTimeField(_("first enabled"), null=True, blank=True, editable=False)
    # Incremented when anything changes that the diagnosis depends on: a result counts only for its own version.
    connection_version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = CorpQuerySet.as_manager()
    default_address: SiteAddress | None = None  # set by callers that look it up once for a whole page

    class Meta:
        verbose_name = _("WeCom company")
        verbose_name_plural = _("WeCom companies")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["corpid", "agentid"],
                name="one_row_per_wecom_app",
                violation_error_message=_("This app (CorpId and AgentId) is connected already."),
            )
        ]

    def __str__(self) -> str:
        return self.name

    def find_site_address(self) -> SiteAddress:
        """Return the company's own site address, else the default one."""
        url: str | None = getattr(self, "site_url", None)  # set for a sign-in, so that no query is needed
        return (
            SiteAddress(url=url) if url else self.site_address or self.default_address or SiteAddress.objects.default()
        )

    @property
    def was_enabled(self) -> bool:
        """True if the company is or was enabled, so that WeCom has been able to identify people through it."""
        return self.is_enabled or self.first_enabled_at is not None

    @property
    def is_sandbox(self) -> bool:
        """True if the API address is on this machine: the sandbox, not WeCom."""
        return is_local_host(urlsplit(self.api_base_url).hostname or "")


class CheckRun(models.Model):
    """The last background run of a check, shown on the company's page.

    A failed run is repeated if the problem may be temporary, so `requested_at` is the time of the first try. A row
    holds no secret, because it is exported as text for support.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        OK = "ok", _("in order")
        WARNING = "warning", _("needs attention")
        WRONG = "wrong", _("wrong")
        SKIPPED = "skipped", _("not tried")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="check_runs", verbose_name=_("company"))
    # Not `check`: Django's models have a method of that name.
    check_name = models.CharField(_("check"), max_length=32)
    connection_version = models.PositiveIntegerField()
    # Our value that was checked, such as a domain or a link: the result counts only while the value is unchanged.
    subject = models.TextField(_("subject"), blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    # One of the check's known problems, for which the check has the sentences.
    problem = models.CharField(_("problem"), max_length=32, blank=True)
    # From WeCom's answer: error number, hint, and our address as WeCom saw it.
    errcode = models.IntegerField(_("WeCom's error code"), null=True)
    hint = models.CharField(_("hint"), max_length=64, blank=True)
    caller_ip = models.GenericIPAddressField(_("address of this server as WeCom saw it"), null=True)
    detail = models.TextField(_("technical detail"), blank=True)
    # Plain values for the sentences.
    facts = models.JSONField(_("facts"), default=dict)
    requested_at = models.DateTimeField(_("requested"))
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    # When the check is repeated, because the problem may be temporary.
    next_try_at = models.DateTimeField(_("next try"), null=True)
    try_count = models.PositiveIntegerField(_("tries"), default=0)

    class Meta:
        verbose_name = _("check")
        verbose_name_plural = _("checks")
        ordering = ["-pk"]
        default_permissions = ()  # part of the company's page: the right to change the company includes them
        constraints = [models.UniqueConstraint(fields=["corp", "check_name"], name="one_run_per_check")]

    def __str__(self) -> str:
        requested_at = timezone.localtime(self.requested_at)
        return f"{self.corp} {self.check_name} {requested_at:%Y-%m-%d %H:%M} {self.get_status_display()}"

    @property
    def is_unfinished(self) -> bool:
        return self.status in {self.Status.WAITING, self.Status.RUNNING}
