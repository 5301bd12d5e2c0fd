"""Results of the diagnosis: one row per requested check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.models.companies import Corp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from integrations.models.jobs import Moment


class CheckRunQuerySet(models.QuerySet["CheckRun"]):
    def unfinished(self) -> Self:
        return self.filter(status__in=[CheckRun.Status.WAITING, CheckRun.Status.RUNNING])

    def newest_of(self, corps: Iterable[Corp | int]) -> Self:
        """The newest run of each check of these corps."""
        theirs = CheckRun.objects.filter(corp__in=corps)
        newest = theirs.order_by().values("corp", "check_name").annotate(newest=Max("pk")).values("newest")
        return self.filter(pk__in=newest)

    def due_again(self, now: Moment) -> Self:
        """Runs that are to be tried once more by now, and those that no worker has ended by now."""
        return self.filter(next_try_at__lte=now)


class CheckRun(models.Model):
    """One run of one check. It runs in the background, and is shown on the corp's page.

    A run that heals by itself is tried again as the same row, so that `requested_at` says since when it has been
    tried. Nothing in a row is secret: it is exported as text for support.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        OK = "ok", _("in order")
        WARNING = "warning", _("to be looked at")
        WRONG = "wrong", _("wrong")
        SKIPPED = "skipped", _("not tried")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="check_runs", verbose_name=_("company"))
    # Not `check`: Django's models have a method of that name.
    check_name = models.CharField(_("check"), max_length=32)
    connection_version = models.PositiveIntegerField()
    # What of ours the check was about, as a domain or a link: a result counts only as long as this is the same.
    subject = models.TextField(_("subject"), blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    # Which of the check's known problems it is; the check has the sentences.
    problem = models.CharField(_("problem"), max_length=32, blank=True)
    # What WeCom said: its error number and hint, and the address that it saw us come from.
    errcode = models.IntegerField(_("WeCom's error code"), null=True)
    hint = models.CharField(_("hint"), max_length=64, blank=True)
    caller_ip = models.GenericIPAddressField(_("our address as WeCom saw it"), null=True)
    detail = models.TextField(_("technical detail"), blank=True)
    # Plain values that the check found, for its sentences.
    facts = models.JSONField(_("facts"), default=dict)
    requested_at = models.DateTimeField(_("requested"))
    requested_by = models.CharField(_("requested by"), max_length=255, blank=True)
    # Also the claim of the worker that runs it: whoever finishes must still hold it.
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    # When beat looks at it: to have tried again what may heal, or queued again what no worker has ended.
    next_try_at = models.DateTimeField(_("next try"), null=True)
    try_count = models.PositiveIntegerField(_("tries"), default=0)

    objects = CheckRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("check")
        verbose_name_plural = _("checks")
        ordering = ["-pk"]
        default_permissions = ()  # part of the corp's page: who may change the corp may run its checks
        indexes = [
            # The newest run of each check of a corp: CheckRunQuerySet.newest_of.
            models.Index(fields=["corp", "check_name", "-id"], name="newest_check_runs"),
            # The few that are tried again or under way: CheckRunQuerySet.due_again.
            models.Index(
                fields=["next_try_at"], condition=models.Q(next_try_at__isnull=False), name="check_runs_due_again"
            ),
        ]

    def __str__(self) -> str:
        requested_at = timezone.localtime(self.requested_at)
        return f"{self.corp} {self.check_name} {requested_at:%Y-%m-%d %H:%M} {self.get_status_display()}"

    @property
    def is_unfinished(self) -> bool:
        return self.status in {self.Status.WAITING, self.Status.RUNNING}
