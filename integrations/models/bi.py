"""The BI platform whose pages people enter from here."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from integrations.models.fields import EncryptedTextField

THE_ONE = 1
# Guandata's own names, unless somebody changed them.
USUAL_DOMAIN = "guanbi"


class BiConnection(models.Model):
    """One row: the BI platform of this site (docs/decisions/0016)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE, editable=False)
    is_enabled = models.BooleanField(
        _("people enter the BI from here"),
        default=False,
        help_text=_("Off: nobody enters the BI, and all pages in links are pages of this site."),
    )
    base_url = models.CharField(
        _("address of the BI"),
        max_length=255,
        blank=True,
        help_text=_("As people open it in the browser, without a page: https://bi.example.com."),
    )
    # --- Who comes in -------------------------------------------------------------------------------------------------
    provider = models.CharField(
        "provider",
        max_length=64,
        default=USUAL_DOMAIN,
        help_text=_(
            "The name of the sign-on provider, exactly as it stands in the BI. Since December 2019 it is the domain ID."
        ),
    )
    domain_id = models.CharField(
        "domainId", max_length=64, blank=True, help_text=_("For versions before 5.9 only: then usually guanbi.")
    )
    external_id_source = models.CharField(
        _("identity in the BI"),
        max_length=100,
        # The attribute that administrators of all companies alone set (accounts.users.bi_identity).
        default="bi_login_id",
        help_text=_("Which value of a person here is the account there: it becomes externalUserId."),
    )
    private_key = EncryptedTextField(_("private key"), blank=True, editable=False)
    key_saved_at = models.DateTimeField(_("key saved"), null=True, editable=False)
    token_seconds = models.PositiveSmallIntegerField(
        _("lifetime of a token (seconds)"),
        default=60,
        validators=[MinValueValidator(10), MaxValueValidator(300)],
        help_text=_(
            "From 10 to 300. A token is made when somebody clicks and is used at once: as short as the clocks allow."
        ),
    )
    # --- Addresses of its pages ---------------------------------------------------------------------------------------
    desktop_page = models.CharField(_("page on a computer"), max_length=200, default="/page/{id}")
    phone_page = models.CharField(
        _("page on a phone"),
        max_length=200,
        blank=True,
        default="/m/page/{id}?pageRenderType=phoneView",
        help_text=_("Empty: as on a computer. {id} stands for the page."),
    )
    desktop_home = models.CharField(_("first page on a computer"), max_length=200, default="/")
    phone_home = models.CharField(_("first page on a phone"), max_length=200, default="/")
    routed_paths = models.CharField(
        _("pages behind path_url"),
        max_length=200,
        blank=True,
        default="survey-engine",
        help_text=_(
            "First words of paths, separated by commas, that the BI opens from its first page only: "
            "/?path_url=survey-engine/… Its forms are such."
        ),
    )
    # --- Its public API -----------------------------------------------------------------------------------------------
    api_domain = models.CharField(_("domain of the API user"), max_length=64, blank=True, default=USUAL_DOMAIN)
    api_login = models.CharField(
        _("API user"),
        max_length=128,
        blank=True,
        help_text=_("Login name or e-mail of a user of the BI by whom data of cards is read. Optional."),
    )
    api_password = EncryptedTextField(_("password of the API user"), blank=True)
    app_token = EncryptedTextField(_("app token"), blank=True)
    proxy_url = EncryptedTextField(_("proxy"), blank=True, help_text=_("http://user:password@host:port, if needed."))
    ca_bundle = models.TextField(_("CA bundle"), blank=True, help_text=_("PEM certificates of a private authority."))
    # --- Its last test: counts only for the version that it saw -------------------------------------------------------
    connection_version = models.PositiveIntegerField(default=1, editable=False)
    check_requested_at = models.DateTimeField(null=True, editable=False)
    # As whom the person who asked for the test enters the BI; empty where that is not known.
    check_as = models.CharField(max_length=255, blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    checked_version = models.PositiveIntegerField(default=0, editable=False)
    check_results = models.JSONField(default=list, editable=False)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("BI platform")
        verbose_name_plural = _("BI platform")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=THE_ONE), name="one_bi_connection")]

    def __str__(self) -> str:
        return self.base_url or str(_("BI platform"))

    @property
    def has_key(self) -> bool:
        """Without reading the key: it is known by when it was saved."""
        return self.key_saved_at is not None


class BiListing(models.Model):
    """What the BI listed when somebody last asked: its pages, or the cards of one of them. For choosing only."""

    # Empty for the list of pages itself.
    page_id = models.CharField(max_length=100, unique=True, blank=True)
    requested_at = models.DateTimeField()
    # Which connection was asked: what another one lists counts no more.
    version = models.PositiveIntegerField(default=0)
    listed_at = models.DateTimeField(null=True)
    # [[id, name, kind]]
    entries = models.JSONField(default=list)
    # Why there is none (integrations.models.datasource_messages), and what stands in the sentence.
    problem_code = models.CharField(max_length=32, blank=True)
    problem_facts = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.page_id or "/"
