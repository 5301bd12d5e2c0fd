"""The copy of a company's directory (departments, members with their departments), its runs, and callback events.

Only `integrations.directory` writes the copy. A value that WeCom does not give is NULL (unknown), an empty one is "".
Departments and members are never deleted but marked as gone, because other rows refer to them.
"""

from __future__ import annotations

from typing import Self, TypeVar

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, pgettext_lazy

from integrations.models import fields
from integrations.models.companies import Corp
from integrations.models.jobs import Moment

CorpRow = TypeVar("CorpRow", bound=models.Model)


class CorpRowsQuerySet(models.QuerySet[CorpRow]):
    def visible_to(self, person: fields.Person) -> Self:
        """Filter rows of the companies that `person` may see."""
        return self.filter(corp__in=Corp.objects.visible_to(person))


class DepartmentQuerySet(CorpRowsQuerySet["Department"]):
    def present(self) -> Self:
        return self.filter(removed_at__isnull=True)


class Department(models.Model):
    """A department. `wecom_parent_id` comes from WeCom: it may name an invisible department, or form a cycle."""

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="departments", verbose_name=_("company"))
    wecom_department_id = models.BigIntegerField(_("department ID"))
    wecom_parent_id = models.BigIntegerField(_("ID of the department above"), null=True)
    name = models.CharField(_("name"), max_length=128, null=True)
    # Among siblings, larger comes first.
    order = models.BigIntegerField(_("order"), default=0)
    removed_at = models.DateTimeField(_("gone since"), null=True)

    objects = DepartmentQuerySet.as_manager()

    class Meta:
        verbose_name = _("department")
        verbose_name_plural = _("departments")
        ordering = ["corp", "-order", "wecom_department_id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["corp", "wecom_department_id"], name="one_row_per_wecom_department"),
        ]

    def __str__(self) -> str:
        return self.name or str(self.wecom_department_id)


class MemberQuerySet(CorpRowsQuerySet["Member"]):
    def in_scope(self) -> Self:
        """Filter members whom WeCom shows us, enabled or not."""
        return self.filter(presence=Member.Presence.IN_SCOPE)

    def eligible(self) -> Self:
        """Filter members in scope who are not disabled in WeCom and do not wait for an administrator."""
        return self.in_scope().filter(waits_since__isnull=True).exclude(status=Member.Status.DISABLED)


class Member(models.Model):
    """A person in a company's directory. `userid` has WeCom's spelling; look-ups use `userid_folded`."""

    class Status(models.TextChoices):
        ACTIVE = "active", pgettext_lazy("member of WeCom", "active")
        DISABLED = "disabled", _("disabled in WeCom")
        NOT_ACTIVATED = "not_activated", _("not activated yet")

    class Presence(models.TextChoices):
        IN_SCOPE = "here", _("in the app's scope")
        # In the company, but outside the app's visible scope or the corp's department_root_ids. Becomes IN_SCOPE
        # without an administrator.
        OUT_OF_SCOPE = "out_of_scope", _("out of scope")
        DELETED = "deleted", _("deleted in WeCom")
        # No longer shown to us, with too many others to look up each. If shown again, treated like DELETED.
        MISSING = "missing", _("not found, reason unknown")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="members", verbose_name=_("company"))
    userid = models.CharField(_("userid"), max_length=64)
    userid_folded = models.CharField(max_length=64, editable=False)
    name = models.CharField(_("full name"), max_length=128, null=True)
    alias = models.CharField(_("alias"), max_length=128, null=True)
    position = models.CharField(_("position"), max_length=128, null=True)
    mobile = models.CharField(_("mobile"), max_length=32, null=True)
    email = models.CharField(_("e-mail"), max_length=254, null=True)
    biz_mail = models.CharField(_("company e-mail"), max_length=254, null=True)
    # The value of the field, defined by the company in WeCom, that a directory policy names as employee number.
    number = models.CharField(_("employee number"), max_length=64, null=True)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, null=True)
    presence = models.CharField(_("presence"), max_length=16, choices=Presence.choices, default=Presence.IN_SCOPE)
    # When WeCom gave this person the present userid: earlier events about this userid are about somebody else.
    renamed_at = models.DateTimeField(_("userid changed"), null=True)
    # The renames that were carried out, or that an administrator must decide: {"old": …, "new": …, "happened_at": …},
    # userids folded. A rename in this list is not carried out again when its event is delivered again, by the same
    # callback address or the other one. The list also shows to whom a userid belonged.
    renames = models.JSONField(default=list, editable=False)
    first_seen_at = models.DateTimeField(_("first seen"))
    changed_at = models.DateTimeField(_("last change"))
    # Since when the person is not IN_SCOPE any more; NULL while IN_SCOPE.
    left_at = models.DateTimeField(_("gone since"), null=True)
    # When a userid that had been deleted came back, if an administrator has not confirmed the person yet.
    waits_since = models.DateTimeField(_("waiting for an administrator since"), null=True)

    # Kept while the person is gone, so that policies by department apply at once when the person is back.
    departments = models.ManyToManyField(Department, related_name="members")
    # WeCom's IDs of the departments. Set by integrations.directory.sync for comparing.
    department_numbers: set[int]

    objects = MemberQuerySet.as_manager()

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ["corp", "userid_folded"]
        default_permissions = ("view",)
        constraints = [
            # Also the index of look-ups by userid, and of iterating over a company's members in order.
            models.UniqueConstraint(fields=["corp", "userid_folded"], name="one_row_per_wecom_member"),
            models.CheckConstraint(
                condition=Q(presence="here", left_at__isnull=True) | (~Q(presence="here") & Q(left_at__isnull=False)),
                name="member_not_here_since",
            ),
            models.CheckConstraint(condition=~Q(userid_folded=""), name="member_has_userid"),
        ]
        indexes = [
            # For userids that had been deleted and came back, perhaps as another person's: few rows.
            models.Index(
                fields=["corp", "waits_since"], condition=Q(waits_since__isnull=False), name="members_waiting"
            ),
            # For repeated events: few members were ever renamed.
            models.Index(fields=["corp"], condition=~Q(renames=[]), name="renamed_members"),
            # For matching a user with a member by mobile or e-mail, if an administrator allows it.
            models.Index(fields=["corp", "mobile"], condition=Q(mobile__gt=""), name="members_by_mobile"),
            models.Index("corp", Lower("email"), condition=Q(email__gt=""), name="members_by_folded_email"),
            models.Index("corp", Lower("biz_mail"), condition=Q(biz_mail__gt=""), name="members_by_folded_mail"),
            models.Index("corp", Lower("number"), condition=Q(number__gt=""), name="members_by_number"),
            # For candidates that an administrator looks at; a run never matches by name.
            models.Index(fields=["name"], condition=Q(name__gt=""), name="members_by_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.userid})" if self.name else self.userid

    @property
    def is_eligible(self) -> bool:
        """True if the member is in scope, not disabled in WeCom, and does not wait for an administrator. The same as
        the filter MemberQuerySet.eligible."""
        is_in_scope = self.presence == self.Presence.IN_SCOPE
        return is_in_scope and self.waits_since is None and self.status != self.Status.DISABLED


class SyncRunQuerySet(CorpRowsQuerySet["SyncRun"]):
    def unfinished(self) -> Self:
        return self.filter(status__in=[SyncRun.Status.WAITING, SyncRun.Status.RUNNING])


class SyncRun(models.Model):
    """A run of the directory's synchronisation. A company has one active run at a time."""

    class Trigger(models.TextChoices):
        MANUAL = "manual", _("by hand")
        NIGHTLY = "nightly", _("nightly")
        EVENT = "event", _("after an event of WeCom")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        ASKING = "asking", _("waits for your confirmation")
        DONE = "done", _("done")
        FAILED = "failed", _("stopped")
        REFUSED = "refused", _("refused by an administrator")
        OVERTAKEN = "overtaken", _("replaced by a later run")

    class Phase(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DEPARTMENTS = "departments", _("reading departments")
        MEMBERS = "members", _("reading members")
        COMPARING = "comparing", _("comparing")
        WRITING = "writing", _("writing")
        FINISHED = "finished", _("finished")

    class Change(models.TextChoices):
        """The kind of a change of one person, found by comparing WeCom with the copy."""

        JOINED = "joined", _("joined")
        CHANGED = "changed", _("changed")
        DISABLED = "disabled", _("disabled in WeCom")
        ENABLED = "enabled", _("enabled again")
        LEFT_SCOPE = "left_scope", _("left the scope")
        DELETED = "deleted", _("deleted in WeCom")
        MISSING = "missing", _("not found any more")
        CAME_BACK = "came_back", _("came back")
        # Was deleted, so it may be another person: an administrator must decide.
        REAPPEARED = "reappeared", _("reappeared, waits for an administrator")

    # Changes that take away access.
    LOSING = (Change.DISABLED, Change.LEFT_SCOPE, Change.DELETED, Change.MISSING)

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="sync_runs", verbose_name=_("company"))
    trigger = models.CharField(_("trigger"), max_length=16, choices=Trigger.choices)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    phase = models.CharField(_("phase"), max_length=16, choices=Phase.choices, default=Phase.WAITING)
    requested_at = models.DateTimeField(_("requested"))
    requested_by = models.CharField(_("requested by"), max_length=255, blank=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    # How often the run was postponed: WeCom could not be reached or limited the calls, or data changed meanwhile.
    try_count = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), null=True)
    call_count = models.PositiveIntegerField(_("calls to WeCom"), default=0)
    seen_count = models.PositiveIntegerField(_("people read"), default=0)
    # The number of written differences by kind: {"joined": 3, …}, values of Change and "departments".
    counts = models.JSONField(_("written"), default=dict)
    # The first written differences, for the run's page: [[member's key, Change, time], …].
    written = models.JSONField(default=list, editable=False)
    # All differences that the run asks an administrator about, or that were refused: [[member's key, Change], …].
    proposed = models.JSONField(default=list, editable=False)
    # [{"code": "cycle", "count": 2, "examples": ["7", "9"]}, …]; the texts are in integrations.directory.sync.
    warnings = models.JSONField(_("warnings"), default=list)
    # The reason why the run stopped: a code of integrations.directory.sync, and WeCom's answer.
    problem = models.CharField(_("problem"), max_length=32, blank=True)
    errcode = models.IntegerField(_("WeCom's error code"), null=True)
    hint = models.CharField(_("hint"), max_length=64, blank=True)
    detail = models.TextField(_("technical detail"), blank=True)
    # The reason to ask: {"reason": "share" | "root", "leaving": 12, "of": 100, "percent": 5, "roots": ["2"]}.
    question = models.JSONField(_("question"), default=dict)
    answered_at = models.DateTimeField(pgettext_lazy("question", "answered"), null=True)
    # The counts of the run's second step, which updates users by the copy (accounts.directory.sync): {"linked": 3, …}.
    applied_counts = models.JSONField(default=dict)
    # How many people the second step has looked at, and when it ended.
    applied_count = models.PositiveIntegerField(default=0)
    applied_at = models.DateTimeField(null=True)

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
            # For a company's newest runs on its page, and for deleting older ones.
            models.Index(fields=["corp", "-id"], name="newest_sync_runs"),
        ]

    def __str__(self) -> str:
        return f"{self.corp} {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M} {self.get_status_display()}"

    @property
    def is_unfinished(self) -> bool:
        return self.status in (self.Status.WAITING, self.Status.RUNNING)

    @property
    def is_confirmed(self) -> bool:
        """True if an administrator approved the changes about which the run asked."""
        return self.answered_at is not None and self.status != self.Status.REFUSED


class CallbackEventQuerySet(models.QuerySet["CallbackEvent"]):
    def waiting(self) -> Self:
        return self.filter(status=CallbackEvent.Status.WAITING)

    def due(self, now: Moment) -> Self:
        """Filter events that a worker should process now."""
        return self.waiting().filter(Q(next_try_at__isnull=True) | Q(next_try_at__lte=now))

    def given_up(self) -> Self:
        """Filter events that failed and were followed by no run of the whole directory, which reads everything."""
        run = SyncRun.objects.filter(corp=OuterRef("corp"), status=SyncRun.Status.DONE)
        later = run.filter(started_at__gte=OuterRef("received_at"))
        return self.filter(~Exists(later), status=CallbackEvent.Status.FAILED)


class CallbackEvent(models.Model):
    """An event or message at one of a company's two callback addresses, stored once however often it was delivered."""

    class Kind(models.TextChoices):
        APP = "app", _("app")
        CONTACTS = "contacts", _("contacts assistant")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        FAILED = "failed", _("given up")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="callback_events", verbose_name=_("company"))
    kind = models.CharField(_("address"), max_length=16, choices=Kind.choices)
    # Equal for all deliveries of one event: the MsgId of a message, or the digest of an event's plaintext.
    key = models.CharField(max_length=80)
    # The event's name, or a message's type. Events and messages share two names, so `is_event` tells them apart.
    event = models.CharField(_("event"), max_length=64)
    is_event = models.BooleanField()
    change = models.CharField(_("kind of change"), max_length=64, blank=True)
    userid = models.CharField("userid", max_length=128, blank=True)
    happened_at = models.DateTimeField(_("happened"))
    received_at = models.DateTimeField(_("received"))
    # The whole plaintext. Encrypted, because it holds people's texts, mobile numbers and addresses.
    body = fields.EncryptedTextField(_("content"))
    # The name of the consumer that processes the event (integrations.callbacks), and the state of the processing; both
    # are empty if no consumer takes events of this name.
    consumer = models.CharField(max_length=64, blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, blank=True)
    try_count = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), null=True)
    # Keys of the rows that this event changed, for when it is processed again after an error. The first event of a
    # batch holds the keys for all events of the batch.
    touched = models.JSONField(default=list)
    # Why the event is tried again or given up, without its content.
    problem = models.CharField(_("problem"), max_length=255, blank=True)

    objects = CallbackEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("callback event")
        verbose_name_plural = _("callback events")
        ordering = ["pk"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["corp", "kind", "key"], name="one_row_per_callback_event")]
        indexes = [
            # For the newest event of an address, and for deleting a company's oldest ones.
            models.Index(fields=["corp", "kind", "received_at"], name="events_by_age"),
            # For a job's next batch: few rows, however many are stored.
            models.Index(
                fields=["corp", "consumer", "next_try_at"], condition=Q(status="waiting"), name="waiting_events"
            ),
            # For the administrator's warning; there should be none.
            models.Index(fields=["corp"], condition=Q(status="failed"), name="given_up_events"),
        ]

    def __str__(self) -> str:
        return f"{self.corp_id} {self.kind} {self.event} {timezone.localtime(self.received_at):%Y-%m-%d %H:%M}"
