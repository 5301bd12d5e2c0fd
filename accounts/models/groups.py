"""Department groups, and the memberships that came from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User
from integrations.models import Corp, Department

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.fields import Person

# Groups whose names begin so are roles (accounts.users.roles): no department brings them.
ROLE_PREFIX = "role:"


def lends_rights(group: str) -> Exists:
    """The condition that a group (`group`: where the outer query has its key) has permissions."""
    return Exists(Group.permissions.through.objects.filter(group=OuterRef(group)))


class DepartmentGroupQuerySet(models.QuerySet["DepartmentGroup"]):
    def in_force(self) -> Self:
        """Without roles, and without groups that got permissions since somebody set this who is no superuser."""
        allowed = self.exclude(group__name__startswith=ROLE_PREFIX)
        return allowed.exclude(lends_rights("group_id"), may_lend_rights=False)

    def visible_to(self, person: Person) -> Self:
        return self.filter(department__corp__in=Corp.objects.visible_to(person))


class DepartmentGroup(models.Model):
    """Whoever is in `department` is in `group`, as far as the directory policy creates and updates people."""

    department = models.ForeignKey(
        Department, on_delete=models.CASCADE, related_name="groups", verbose_name=_("department")
    )
    with_subdepartments = models.BooleanField(_("with the departments below it"), default=True)
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+", verbose_name=_("group"))
    # A superuser set it: then the group may lend permissions. WeCom's administrators decide who is in a department.
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
    """A membership that the directory of `corp` gave: it alone is taken away again by that directory."""

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="given_groups")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="given_groups")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+")

    class Meta:
        verbose_name = _("group given by a directory")
        verbose_name_plural = _("groups given by directories")
        default_permissions = ()
        constraints = [
            # The people of a step, and all of a corp: accounts.directory.groups.
            models.UniqueConstraint(fields=["corp", "user", "group"], name="one_given_group"),
        ]

    def __str__(self) -> str:
        return f"{self.corp_id} {self.user_id} {self.group_id}"
