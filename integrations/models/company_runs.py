"""Work about one company: checks of the diagnosis, changes of WeCom's console, credentials that are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Max, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.models.companies import Corp
from integrations.models.fields import EncryptedTextField

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
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


class StagedCredentialsQuerySet(models.QuerySet["StagedCredentials"]):
    def due(self, now: Moment) -> Self:
        """Never tried for want of a worker, or to be tried again. Served by the index staged_credentials_due."""
        return self.filter(next_try_at__lte=now)


class StagedCredentials(models.Model):
    """AgentId and Secret that serve once WeCom says that they belong together. The last ones of each corp stay here,
    without the Secret, to say since when they are in force."""

    class State(models.TextChoices):
        WAITING = "waiting", _("being checked")
        REFUSED = "refused", _("refused")
        IN_FORCE = "in_force", _("in force")

    corp = models.OneToOneField(
        Corp, on_delete=models.CASCADE, related_name="staged_credentials", verbose_name=_("company")
    )
    agentid = models.PositiveBigIntegerField("AgentId")
    secret = EncryptedTextField("Secret", blank=True)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.WAITING)
    staged_by = models.CharField(max_length=255, blank=True)
    staged_at = models.DateTimeField()
    # Only of one that waits.
    next_try_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    # What the last try found, as in CheckRun.
    problem = models.CharField(max_length=32, blank=True)
    facts = models.JSONField(default=dict)
    errcode = models.IntegerField(null=True)
    caller_ip = models.GenericIPAddressField(null=True)

    objects = StagedCredentialsQuerySet.as_manager()

    class Meta:
        verbose_name = _("new credentials")
        verbose_name_plural = _("new credentials")
        default_permissions = ()
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(next_try_at__isnull=False), name="staged_credentials_due")
        ]

    def __str__(self) -> str:
        return f"{self.corp} · {self.agentid}"
