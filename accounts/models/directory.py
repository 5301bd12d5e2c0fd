"""Directory policies of companies, members that runs could not link, and groups given by departments."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_lazy as _

from accounts.models.attributes import Attribute
from accounts.models.users import User
from integrations.models import Corp, Department, Member
from integrations.models.directory import CorpRowsQuerySet
from integrations.models.fields import Person


class DirectoryPolicyQuerySet(CorpRowsQuerySet["DirectoryPolicy"]):
    def in_force(self) -> Self:
        return self.exclude(mode=DirectoryPolicy.Mode.OFF).filter(corp__is_enabled=True)


class DirectoryPolicy(models.Model):
    """The effect of the WeCom directory of a company on people here. A company without a row counts as off."""

    class Mode(models.TextChoices):
        OFF = "off", _("off")
        LINK = "link", _("link existing people")
        CREATE = "create", _("link, create and update people")

    class Leavers(models.TextChoices):
        UNLINK = "unlink", _("unlink them")
        DISABLE = "disable", _("unlink and disable them")

    corp = models.OneToOneField(
        Corp, on_delete=models.CASCADE, related_name="directory_policy", verbose_name=_("WeCom company name")
    )
    mode = models.CharField(
        _("effect of the directory"),
        max_length=8,
        choices=Mode.choices,
        default=Mode.OFF,
        help_text=_(
            "Off: nothing runs at night, and WeCom's directory changes nobody on this site. A change of this setting "
            "leaves people who were created, linked or put into groups as they are."
        ),
    )
    match_username = models.BooleanField(_("by username = WeCom account"), default=True)
    match_email = models.BooleanField(
        _("by e-mail"), default=False, help_text=_("Works only if WeCom shows e-mail addresses to the app.")
    )
    match_mobile = models.BooleanField(
        _("by mobile"), default=False, help_text=_("Works only if WeCom shows mobile numbers to the app.")
    )
    number_attribute = models.ForeignKey(
        Attribute,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        limit_choices_to={"is_employee_number": True},
        related_name="+",
        verbose_name=_("by employee number"),
        help_text=_("The attribute that holds it. Only attributes marked as employee number can be chosen."),
    )
    number_field = models.CharField(
        _("field in WeCom"),
        max_length=64,
        blank=True,
        help_text=_(
            "The exact name of the company's own field in WeCom's contacts that holds the employee number. The app "
            "must be allowed to see this field. Empty: the WeCom account is the employee number."
        ),
    )
    leavers = models.CharField(
        _("people deleted in WeCom"),
        max_length=8,
        choices=Leavers.choices,
        default=Leavers.DISABLE,
        help_text=_("Nobody is ever deleted here. People with an account of another company are only unlinked."),
    )
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = DirectoryPolicyQuerySet.as_manager()

    class Meta:
        verbose_name = _("directory policy")
        verbose_name_plural = _("directory policies")
        ordering = ["corp__name"]
        default_permissions = ("view", "add", "change")

    def __str__(self) -> str:
        return f"{self.corp}: {self.get_mode_display()}"

    def clean(self) -> None:
        keys = (self.match_username, self.match_email, self.match_mobile, self.number_attribute_id)
        if self.mode == self.Mode.LINK and not any(keys):
            raise ValidationError(_("Choose how people are found, or nobody would be linked."))
        if self.number_field and self.number_attribute_id is None:
            raise ValidationError({"number_attribute": _("Choose the attribute that holds the employee number.")})

    @property
    def is_off(self) -> bool:
        return self.mode == self.Mode.OFF


class LinkConflictQuerySet(models.QuerySet["LinkConflict"]):
    def in_force(self) -> Self:
        """Keep conflicts in enabled companies whose directory policy is on."""
        return self.filter(member__corp__in=DirectoryPolicy.objects.in_force().values("corp"))

    def visible_to(self, person: Person) -> Self:
        return self.filter(member__corp__in=Corp.objects.visible_to(person))


class LinkConflict(models.Model):
    """The reason why a member is linked with nobody. Only accounts.directory writes it. The first run that finds the
    reason gone deletes the row."""

    class Reason(models.TextChoices):
        NOBODY = "nobody", _("no matching person")
        SEVERAL = "several", _("several matching people")
        SHARED = "shared", _("several members share the e-mail or mobile")
        OTHER_ACCOUNT = "other_account", _("the person has another WeCom account of this company")
        OTHER_COMPANY = "other_company", _("the person belongs to another company")
        PROTECTED = "protected", _("the person may enter the administration: link by hand")
        PASSWORD_ONLY = "password_only", _("the person signs in with a password only: link by hand")
        DISABLED = "disabled", _("the person is disabled here")
        USERNAME_TAKEN = "username_taken", _("somebody else has this username")
        COMPANY_MISSING = "company_missing", _("somebody has this WeCom account, but no WeCom company")
        CAME_BACK = "came_back", _("this WeCom account was deleted before and may now belong to another person")

    member = models.OneToOneField(
        Member, on_delete=models.CASCADE, related_name="link_conflict", verbose_name=_("member")
    )
    reason = models.CharField(_("reason"), max_length=16, choices=Reason.choices)
    since = models.DateTimeField(_("since"))

    objects = LinkConflictQuerySet.as_manager()

    class Meta:
        verbose_name = _("WeCom member who is not linked")
        verbose_name_plural = _("Not linked with WeCom")
        ordering = ["pk"]
        default_permissions = ("view",)
        indexes = [models.Index(fields=["reason", "id"], name="conflicts_by_reason")]

    def __str__(self) -> str:
        """Return the member only: not everybody who sees the member may read the reason (accounts.explanations)."""
        return str(self.member)


# Groups with this prefix are roles (accounts.users.roles): no department gives them.
ROLE_PREFIX = "role:"


class DepartmentGroupQuerySet(models.QuerySet["DepartmentGroup"]):
    def in_force(self) -> Self:
        """Leave out roles, and groups with permissions unless a superuser set the rule."""
        allowed = self.exclude(group__name__startswith=ROLE_PREFIX)
        has_permissions = Exists(Group.permissions.through.objects.filter(group=OuterRef("group_id")))
        return allowed.exclude(has_permissions, may_lend_rights=False)

    def visible_to(self, person: Person) -> Self:
        return self.filter(department__corp__in=Corp.objects.visible_to(person))


class DepartmentGroup(models.Model):
    """A rule that puts the people of `department` into `group`, if the directory policy creates and updates people."""

    department = models.ForeignKey(
        Department, on_delete=models.CASCADE, related_name="groups", verbose_name=_("department")
    )
    with_subdepartments = models.BooleanField(_("including its subdepartments"), default=True)
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+", verbose_name=_("group"))
    # True if a superuser set the rule. Only then may the group have permissions: WeCom's administrators decide who is
    # in the department, and so who gets them.
    may_lend_rights = models.BooleanField(default=False, editable=False)

    objects = DepartmentGroupQuerySet.as_manager()

    class Meta:
        verbose_name = _("group of a department")
        verbose_name_plural = _("groups of departments")
        ordering = ["department__corp__name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["department", "group"], name="one_row_per_department_and_group"),
        ]

    def __str__(self) -> str:
        return f"{self.department} → {self.group}"


class GivenGroup(models.Model):
    """A group membership that the directory of `corp` has given. It removes no membership without such a row."""

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="given_groups")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="given_groups")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+")

    class Meta:
        verbose_name = _("group given by a directory")
        verbose_name_plural = _("groups given by directories")
        default_permissions = ()
        constraints = [
            # Serves look-ups by company and people (accounts.directory.groups).
            models.UniqueConstraint(fields=["corp", "user", "group"], name="one_given_group"),
        ]

    def __str__(self) -> str:
        return f"{self.corp_id} {self.user_id} {self.group_id}"
