"""Directory runs, and what each changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, pgettext_lazy

from integrations.models import scoping
from integrations.models.companies import Corp
from integrations.models.jobs import BackgroundJob, BackgroundJobQuerySet

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from typing import Self


class SyncRunQuerySet(BackgroundJobQuerySet["SyncRun"]):
    def claimable(self, now: datetime) -> Self:
        """Of those that wait, only new ones and those that are due again."""
        return super().claimable(now).filter(Q(next_try_at__isnull=True) | Q(next_try_at__lte=now))

    def visible_to(self, person: scoping.Person) -> Self:
        """Runs of the corps that `person` may see."""
        return self.filter(corp__in=Corp.objects.visible_to(person))


class SyncRun(BackgroundJob):
    """One run. The row is also the lock: a corp has one active run, whose worker holds a lease that expires."""

    class Trigger(models.TextChoices):
        MANUAL = "manual", _("by hand")
        NIGHTLY = "nightly", _("nightly")
        EVENT = "event", _("after an event of WeCom")

    class Source(models.TextChoices):
        APP = "app", _("visible scope of the app")
        CONTACTS = "contacts", _("accounts and departments of the whole company, by the contacts secret")
        BOTH = "both", _("whole company by the contacts secret, details by the app")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        ASKING = "asking", _("waits for your confirmation")
        DONE = "done", _("done")
        FAILED = "failed", _("stopped")
        REFUSED = "refused", _("refused by an administrator")
        OVERTAKEN = "overtaken", _("overtaken by a later run")

    class Phase(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DEPARTMENTS = "departments", _("reading departments")
        MEMBERS = "members", _("reading members")
        COMPARING = "comparing", _("comparing")
        WRITING = "writing", _("writing")
        FINISHED = "finished", _("finished")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="sync_runs", verbose_name=_("company"))
    trigger = models.CharField(_("trigger"), max_length=16, choices=Trigger.choices)
    source = models.CharField(_("read with"), max_length=16, choices=Source.choices)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    phase = models.CharField(_("phase"), max_length=16, choices=Phase.choices, default=Phase.WAITING)
    requested_at = models.DateTimeField(_("requested"))
    requested_by = models.CharField(_("requested by"), max_length=255, blank=True)
    started_at = models.DateTimeField(_("started"), null=True)
    try_count = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), null=True)
    # Progress of the phase: 0 of 0 where it cannot be told.
    done_count = models.PositiveIntegerField(_("steps done"), default=0)
    total_count = models.PositiveIntegerField(_("steps in all"), default=0)
    call_count = models.PositiveIntegerField(_("calls to WeCom"), default=0)
    seen_count = models.PositiveIntegerField(_("people seen"), default=0)
    # How many differences of each kind were written: {"joined": 3, …}, keys of SyncChange.Kind and "departments".
    counts = models.JSONField(_("written"), default=dict)
    # [{"code": "cycle", "count": 2, "examples": ["7", "9"]}, …]; integrations.directory.explanations has the sentences.
    warnings = models.JSONField(_("warnings"), default=list)
    # Why it stopped: a word of integrations.directory.explanations, and what WeCom said.
    problem = models.CharField(_("problem"), max_length=32, blank=True)
    errcode = models.IntegerField(_("WeCom's error code"), null=True)
    hint = models.CharField(_("hint"), max_length=64, blank=True)
    detail = models.TextField(_("technical detail"), blank=True)
    # Why it asks: {"reason": "share" | "root", "leaving": 12, "of": 100, "percent": 5, "roots": ["2"]}.
    question = models.JSONField(_("question"), default=dict)
    answered_at = models.DateTimeField(pgettext_lazy("question", "answered"), null=True)
    answered_by = models.CharField(_("answered by"), max_length=255, blank=True)

    objects = SyncRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("directory synchronisation")
        verbose_name_plural = _("directory synchronisations")
        ordering = ["-pk"]
        default_permissions = ("view",)
        permissions = [("sync_directory", gettext_noop("Can synchronise the directory and confirm what a run asks"))]
        constraints = [
            models.UniqueConstraint(
                fields=["corp"], condition=Q(status__in=["waiting", "running"]), name="one_active_sync_run_per_corp"
            ),
        ]
        indexes = [
            # The newest runs of a corp: its page, and keeping the last ones only.
            models.Index(fields=["corp", "-id"], name="newest_sync_runs"),
            # The few that a worker should take: SyncRunQuerySet.claimable.
            models.Index(
                fields=["status", "next_try_at"],
                condition=Q(status__in=["waiting", "running"]),
                name="claimable_sync_runs",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.corp} {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M} {self.get_status_display()}"

    @property
    def is_confirmed(self) -> bool:
        """An administrator said yes to what it asked."""
        return self.answered_at is not None and self.status != self.Status.REFUSED

    @property
    def duration(self) -> timedelta | None:
        """From the first start to the end, waiting in between included."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at


class SyncChangeQuerySet(models.QuerySet["SyncChange"]):
    def applied(self) -> Self:
        return self.filter(applied_at__isnull=False)

    def proposed(self) -> Self:
        """What a run would do, and asks about."""
        return self.filter(applied_at__isnull=True)


class SyncChange(models.Model):
    """One difference of one person in one run."""

    class Kind(models.TextChoices):
        JOINED = "joined", _("joined")
        CHANGED = "changed", _("changed")
        DISABLED = "disabled", _("disabled in WeCom")
        ENABLED = "enabled", _("enabled again")
        LEFT_SCOPE = "left_scope", _("left the scope")
        DELETED = "deleted", _("deleted in WeCom")
        MISSING = "missing", _("not found any more")
        CAME_BACK = "came_back", _("came back")
        # Had been deleted, so it may be another person: an administrator must say.
        REAPPEARED = "reappeared", _("reappeared, waits for an administrator")

    # Who is not able to use anything here any more.
    LOSING = (Kind.DISABLED, Kind.LEFT_SCOPE, Kind.DELETED, Kind.MISSING)

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="changes")
    member = models.ForeignKey("Member", on_delete=models.CASCADE, related_name="changes", verbose_name=_("member"))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    # {"name": ["李雷", "李磊"], "departments": [[2], [2, 3]]}; of mobile and e-mail only that they changed.
    fields = models.JSONField(_("fields"), default=dict)
    # NULL: proposed by a run that asks first, or asked and was refused.
    applied_at = models.DateTimeField(_("applied"), null=True)

    objects = SyncChangeQuerySet.as_manager()

    class Meta:
        verbose_name = _("difference")
        verbose_name_plural = _("differences")
        ordering = ["pk"]
        default_permissions = ()  # seen with its run
        indexes = [
            # A run's differences in order, page by page: integrations.directory.changes_of.
            models.Index(fields=["run", "id"], name="changes_of_run"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.member_id} {self.kind}"
