"""Changes that this program wrote into an app's settings in WeCom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.models.companies import Corp

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self


class ConsoleWriteQuerySet(models.QuerySet["ConsoleWrite"]):
    def planning(self, *, since: datetime) -> Self:
        """Those whose preview is on its way, leaving out what was asked before `since`: it seems lost."""
        return self.filter(
            status__in=[ConsoleWrite.Status.WAITING, ConsoleWrite.Status.READING], requested_at__gte=since
        )

    def unfinished(self) -> Self:
        return self.exclude(status__in=[ConsoleWrite.Status.DONE, ConsoleWrite.Status.FAILED])

    def for_corp(self, corp: Corp) -> Self:
        return self.filter(corp=corp)


class ConsoleWrite(models.Model):
    """One change in WeCom: read first, shown as before and after, confirmed by a person, then written.

    waiting → reading → planned → confirmed → writing → done; failed from everywhere; planned with nothing to change is
    done at once. Each step is claimed by a conditional update (integrations.companies.console), so none happens twice.
    """

    class Kind(models.TextChoices):
        SETTINGS = "settings", _("home page and trusted domain")
        MENU = "menu", _("menu of the app")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        READING = "reading", _("reading from WeCom")
        PLANNED = "planned", _("to be confirmed")
        CONFIRMED = "confirmed", _("confirmed")
        WRITING = "writing", _("writing to WeCom")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    class Problem(models.TextChoices):
        REFUSED = "refused", _("refused by WeCom")
        UNREACHABLE = "unreachable", _("WeCom cannot be reached")
        WRONG_SETTING = "wrong_setting", _("address, proxy or certificate is wrong")
        NOT_WECOM = "not_wecom", _("the answer is not WeCom's")
        CHANGED = "changed", _("WeCom's settings changed after the preview")
        OUTDATED = "outdated", _("our values changed after the preview")
        UNCLEAR = "unclear", _("outcome unknown")
        UNQUEUED = "unqueued", _("the queue cannot be reached")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="console_writes", verbose_name=_("company"))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    # Names, not people: this app knows no user model, and the record outlives them.
    requested_by = models.CharField(_("requested by"), max_length=255)
    confirmed_by = models.CharField(_("confirmed by"), max_length=255, blank=True)
    # [{"name": …, "before": …, "after": …}] with the values as WeCom keeps them; equal ones are left out.
    changes = models.JSONField(_("changes"), default=list)
    problem = models.CharField(_("problem"), max_length=16, choices=Problem.choices, blank=True)
    errcode = models.IntegerField(_("WeCom's error code"), null=True)
    hint = models.CharField(_("hint"), max_length=64, blank=True)
    caller_ip = models.GenericIPAddressField(_("our address as WeCom saw it"), null=True)
    message = models.TextField(_("message"), blank=True)
    requested_at = models.DateTimeField(_("requested"))
    planned_at = models.DateTimeField(pgettext_lazy("from WeCom", "read"), null=True)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)

    objects = ConsoleWriteQuerySet.as_manager()

    class Meta:
        verbose_name = _("change in WeCom's console")
        verbose_name_plural = _("changes in WeCom's console")
        ordering = ["-pk"]
        default_permissions = ()  # part of the corp's page: who may change the corp may have it written

    def __str__(self) -> str:
        return f"{self.corp_id} {self.kind} {self.status} {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M}"
