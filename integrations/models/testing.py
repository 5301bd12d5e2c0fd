"""What testing a corp's connection found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from integrations.models.companies import Corp

if TYPE_CHECKING:
    from typing import Self


class ConnectionTestQuerySet(models.QuerySet["ConnectionTest"]):
    def unfinished(self) -> Self:
        return self.filter(status__in=[ConnectionTest.Status.WAITING, ConnectionTest.Status.RUNNING])

    def finished(self) -> Self:
        return self.filter(status__in=[ConnectionTest.Status.PASSED, ConnectionTest.Status.FAILED])

    def tried(self) -> Self:
        """Finished tests without those that no queue took: these say nothing of the credentials."""
        return self.finished().exclude(status=ConnectionTest.Status.FAILED, problem="")

    def current(self, corp: Corp) -> Self:
        """Tests that saw the connection as it is saved now."""
        return self.filter(corp=corp, connection_version=corp.connection_version)


class ConnectionTest(models.Model):
    """One try of a corp's credentials: fetch a token, read the app. Run in the background, shown on the corp's page."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        PASSED = "passed", _("passed")
        FAILED = "failed", _("failed")

    class Problem(models.TextChoices):
        REFUSED = "refused", _("refused by WeCom")
        UNREACHABLE = "unreachable", _("WeCom cannot be reached")
        WRONG_SETTING = "wrong_setting", _("address, proxy or certificate is wrong")
        NOT_WECOM = "not_wecom", _("the answer is not WeCom's")
        OTHER_APP = "other_app", _("another app answered")
        APP_DISABLED = "app_disabled", _("the app is disabled in WeCom")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="connection_tests", verbose_name=_("company"))
    connection_version = models.PositiveIntegerField()
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    requested_at = models.DateTimeField(_("requested"))
    finished_at = models.DateTimeField(_("finished"), null=True)
    problem = models.CharField(_("problem"), max_length=16, choices=Problem.choices, blank=True)
    # What WeCom said: its error number and hint, the address that it saw us come from, the app's own settings.
    errcode = models.IntegerField(_("errcode"), null=True)
    hint = models.CharField(_("hint"), max_length=64, blank=True)
    caller_ip = models.GenericIPAddressField(_("our address as WeCom saw it"), null=True)
    message = models.TextField(_("message"), blank=True)
    app_name = models.CharField(_("app name"), max_length=128, blank=True)
    app_home_url = models.TextField(_("home page in WeCom"), blank=True)
    app_redirect_domain = models.CharField(_("trusted domain in WeCom"), max_length=255, blank=True)

    objects = ConnectionTestQuerySet.as_manager()

    class Meta:
        verbose_name = _("connection test")
        verbose_name_plural = _("connection tests")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.corp} {self.requested_at:%Y-%m-%d %H:%M} {self.get_status_display()}"
