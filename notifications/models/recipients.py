"""Recipients: robots, the recipients and channel of subscriptions and alert rules, successors, operators."""

from __future__ import annotations

from typing import ClassVar, Self, TypeVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import validate_email
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.roles import make_scope_condition
from integrations.models import Corp, Department
from integrations.models.fields import EncryptedTextField, Person
from integrations.models.installation import SINGLETON_PK

M = TypeVar("M", bound=models.Model, covariant=True)


class ScopedQuerySet(models.QuerySet[M]):
    def visible_to(self, person: Person) -> Self:
        """Rows of corps that `person` may see; rows of all corps if `person` may see all."""
        return self.filter(make_scope_condition(person))


class RobotQuerySet(models.QuerySet["Robot"]):
    def visible_to(self, person: Person) -> Self:
        return self.filter(corp__in=Corp.objects.visible_to(person))


class Robot(models.Model):
    """A robot of a WeCom group. `corp`: the group's company, whose proxy is used. It decides who may use the robot."""

    name = models.CharField(_("name"), max_length=128, help_text=_("The group's usual name, for example 销售日报群."))
    corp = models.ForeignKey(Corp, on_delete=models.PROTECT, related_name="+", verbose_name=_("company"))
    key = EncryptedTextField(_("webhook key"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = RobotQuerySet.as_manager()

    class Meta:
        verbose_name = _("group robot")
        verbose_name_plural = _("group robots")
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["corp", "name"], name="one_robot_per_name")]

    def __str__(self) -> str:
        return self.name


class Channel(models.TextChoices):
    """The way in which a message reaches people (触达方式). An entrance for messages of other systems (通道) is an
    InboundChannel."""

    WECOM = "wecom", _("WeCom")
    ROBOT = "robot", _("WeCom group robot")
    EMAIL = "email", pgettext_lazy("channel", "e-mail")


class RulesMatch(models.TextChoices):
    """The way several attribute rules of one subscription or alert rule are joined."""

    ALL = "all", _("people who match all rules")
    ANY = "any", _("people who match any rule")


class WithRecipients(models.Model):
    """Base of models that name recipients: pushes and alert rules. Functions for both call such a row an order
    (notifications.subscriptions.recipients.read_audience). Its attribute rules are in
    notifications.models.subscriptions."""

    # The column of AttributeRule that names a row of this model.
    rule_column: ClassVar[str]
    to_everyone = models.BooleanField(_("everyone linked to WeCom"), default=False)
    users = models.ManyToManyField(User, blank=True, related_name="+", verbose_name=_("people"))
    groups = models.ManyToManyField(Group, blank=True, related_name="+", verbose_name=_("groups"))
    departments = models.ManyToManyField(
        Department,
        blank=True,
        related_name="+",
        verbose_name=_("departments of WeCom"),
        help_text=_("The people in the department when a run begins, as of the last synchronisation of the directory."),
    )
    with_subdepartments = models.BooleanField(_("including their subdepartments"), default=True)
    rules_match = models.CharField(
        _("if there are several attribute rules"), max_length=3, choices=RulesMatch.choices, default=RulesMatch.ALL
    )
    channel = models.CharField(_("channel"), max_length=16, choices=Channel.choices, default=Channel.WECOM)
    robot = models.ForeignKey(
        Robot,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group robot"),
        help_text=_("Only for the channel “group robot”: everybody in its group reads it."),
    )
    fallback_channel = models.CharField(
        _("second channel"),
        max_length=16,
        blank=True,
        choices=[(Channel.EMAIL.value, Channel.EMAIL.label)],
        help_text=_("For people whom WeCom cannot reach."),
    )

    class Meta:
        abstract = True

    @property
    def only_corp_id(self) -> int | None:
        """The id of the only company whose people are recipients; None for every company."""
        raise NotImplementedError


class WithSuccessor(models.Model):
    """Base of models whose owner may have a successor (notifications.delivery.runs.ownership)."""

    successor = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("successor")
    )

    class Meta:
        abstract = True


class ForCompany(models.Model):
    """Base of models that are for people of one company, or of every company."""

    corp = models.ForeignKey(
        Corp,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        verbose_name=_("only for the company"),
        help_text=_("Empty: for people of every company."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        abstract = True


def check_addresses(text: str) -> None:
    """Raise ValidationError for a word that is no mail address."""
    for address in text.split():
        validate_email(address)


class OperatorContactsQuerySet(models.QuerySet["OperatorContacts"]):
    def addresses(self) -> list[str]:
        """Return the addresses of the environment and the saved ones, each once."""
        saved = self.values_list("emails", flat=True).first() or ""
        return list(dict.fromkeys([*settings.OPERATOR_EMAILS, *saved.split()]))


class OperatorContacts(models.Model):
    """The contacts to notify when nothing is sent: one row, besides OPERATOR_EMAILS and OPERATOR_ROBOT_URL."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK, editable=False)
    emails = models.TextField(
        _("e-mail addresses"),
        blank=True,
        validators=[check_addresses],
        help_text=_("One per line. EMAIL_URL in .env sets the mail server."),
    )
    robot = models.ForeignKey(
        Robot,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group robot"),
        help_text=_("The same notices go to its group, even without a mail server."),
    )

    objects = OperatorContactsQuerySet.as_manager()

    class Meta:
        verbose_name = pgettext_lazy("menu", "Failure notices")
        verbose_name_plural = pgettext_lazy("menu", "Failure notices")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=SINGLETON_PK), name="one_row_of_operator_contacts")]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
