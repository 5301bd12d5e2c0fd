"""Group robots (消息推送): each sends into one group of one company."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from integrations.models import Corp
from integrations.models.fields import EncryptedTextField

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.fields import Person


class RobotQuerySet(models.QuerySet["Robot"]):
    def visible_to(self, person: Person) -> Self:
        return self.filter(corp__in=Corp.objects.visible_to(person))


class Robot(models.Model):
    """A robot of a group. `corp`: whose group it is; it decides who may use the robot, and by which way we call."""

    name = models.CharField(_("name"), max_length=128, help_text=_("As people know the group, for example 销售日报群."))
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
