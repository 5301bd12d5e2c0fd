"""Our copy of a company's directory: departments, members, memberships.

Written by `integrations.directory` only. What WeCom does not tell is NULL (unknown), what it tells to be empty is "".
Nothing is ever deleted: who or what is not there any more is marked so, since other rows name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.models import scoping
from integrations.models.companies import Corp

if TYPE_CHECKING:
    from typing import Self


def fold_userid(userid: str) -> str:
    """WeCom's userids are the same in capitals and small letters: the form in which they are compared."""
    return userid.lower()


class DepartmentQuerySet(models.QuerySet["Department"]):
    def present(self) -> Self:
        return self.filter(removed_at__isnull=True)

    def visible_to(self, person: scoping.Person) -> Self:
        """Departments of the corps that `person` may see."""
        return self.filter(corp__in=Corp.objects.visible_to(person))


class Department(models.Model):
    """One department. `wecom_parent_id` is WeCom's word: it may name a department that we cannot see, or a cycle."""

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="departments", verbose_name=_("company"))
    wecom_department_id = models.BigIntegerField(_("department ID"))
    wecom_parent_id = models.BigIntegerField(_("ID of the department above"), null=True)
    name = models.CharField(_("name"), max_length=128, null=True)
    # Larger comes first.
    order = models.BigIntegerField(_("order"), default=0)
    removed_at = models.DateTimeField(_("not there since"), null=True)

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


class MemberQuerySet(models.QuerySet["Member"]):
    def here(self) -> Self:
        """Whom WeCom shows us, whether they may sign in there or not."""
        return self.filter(presence=Member.Presence.HERE)

    def able(self) -> Self:
        """Who is here, is not disabled in WeCom, and is known to be the person that the userid belonged to before."""
        return self.here().filter(waits_since__isnull=True).exclude(status=Member.Status.DISABLED)

    def waiting_for_administrator(self) -> Self:
        """Userids that had been deleted and came back: perhaps another person's."""
        return self.filter(waits_since__isnull=False)

    def visible_to(self, person: scoping.Person) -> Self:
        """Members of the corps that `person` may see."""
        return self.filter(corp__in=Corp.objects.visible_to(person))


class Member(models.Model):
    """One person of one corp. `userid` as WeCom spells it; look-ups go by `userid_folded`."""

    class Status(models.TextChoices):
        ACTIVE = "active", pgettext_lazy("member of WeCom", "active")
        DISABLED = "disabled", _("disabled in WeCom")
        NOT_ACTIVATED = "not_activated", _("not activated yet")

    class Presence(models.TextChoices):
        HERE = "here", _("there")
        # In the company, but outside the app's visible scope or outside the department roots. Heals by itself.
        OUT_OF_SCOPE = "out_of_scope", _("out of scope")
        DELETED = "deleted", _("deleted in WeCom")
        # Not shown to us any more, and too many at once to ask about each. Treated like DELETED on coming back.
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
    # Of the company's own fields the one that a directory policy names.
    number = models.CharField(_("employee number"), max_length=64, null=True)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, null=True)
    presence = models.CharField(_("presence"), max_length=16, choices=Presence.choices, default=Presence.HERE)
    # When WeCom last gave this person another userid: what was told of the userid before that is not about them.
    renamed_at = models.DateTimeField(_("userid changed"), null=True)
    first_seen_at = models.DateTimeField(_("first seen"))
    changed_at = models.DateTimeField(_("last change"))
    # Since when the person is not there; NULL while HERE.
    left_at = models.DateTimeField(_("not there since"), null=True)
    # A userid that had been deleted came back at this moment, and no administrator has said yet who that is.
    waits_since = models.DateTimeField(_("waits for an administrator since"), null=True)

    departments = models.ManyToManyField(Department, through="Membership", related_name="members")

    objects = MemberQuerySet.as_manager()

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ["corp", "userid_folded"]
        default_permissions = ("view",)
        constraints = [
            # Also the index of every look-up by userid, and of walking a corp's members in order.
            models.UniqueConstraint(fields=["corp", "userid_folded"], name="one_row_per_wecom_member"),
            models.CheckConstraint(
                condition=Q(presence="here", left_at__isnull=True) | (~Q(presence="here") & Q(left_at__isnull=False)),
                name="member_not_here_since",
            ),
            models.CheckConstraint(condition=~Q(userid_folded=""), name="member_has_userid"),
        ]
        indexes = [
            # Who waits for an administrator, a few rows: MemberQuerySet.waiting_for_administrator.
            models.Index(
                fields=["corp", "waits_since"], condition=Q(waits_since__isnull=False), name="members_waiting"
            ),
            # Matching a user with a member by mobile or e-mail, where an administrator allows it.
            models.Index(fields=["corp", "mobile"], condition=Q(mobile__gt=""), name="members_by_mobile"),
            models.Index("corp", Lower("email"), condition=Q(email__gt=""), name="members_by_folded_email"),
            models.Index("corp", Lower("biz_mail"), condition=Q(biz_mail__gt=""), name="members_by_folded_mail"),
            models.Index("corp", Lower("number"), condition=Q(number__gt=""), name="members_by_number"),
            # Who could be meant by a person here, for an administrator to look at: never by a run.
            models.Index(fields=["name"], condition=Q(name__gt=""), name="members_by_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.userid})" if self.name else self.userid


class MembershipQuerySet(models.QuerySet["Membership"]):
    def able(self) -> Self:
        """Those of members who may have access: MemberQuerySet.able."""
        here = self.filter(member__presence=Member.Presence.HERE, member__waits_since__isnull=True)
        return here.exclude(member__status=Member.Status.DISABLED)


class Membership(models.Model):
    """A member in a department. Kept while the person is not there: a policy by department survives a holiday."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="memberships")
    department = models.ForeignKey(Department, on_delete=models.CASCADE, related_name="memberships")
    is_leader = models.BooleanField(_("leader"), null=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["member", "department"], name="one_membership_per_department"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} in {self.department_id}"


class MemberRename(models.Model):
    """A change of somebody's userid that was carried out, so that no repeat of its event is, nor the other address's.

    Kept: it also says who a userid of last year was.
    """

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="renames")
    old_folded = models.CharField(_("former userid"), max_length=64)
    new_folded = models.CharField("userid", max_length=64)
    happened_at = models.DateTimeField(_("happened"))

    class Meta:
        verbose_name = _("change of a userid")
        verbose_name_plural = _("changes of userids")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["corp", "old_folded", "new_folded", "happened_at"], name="one_row_per_member_rename"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.old_folded} → {self.new_folded}"
