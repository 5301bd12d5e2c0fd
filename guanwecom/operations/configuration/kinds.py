"""What belongs to the configuration: which models, by which name each row is known, and which columns count.

Every column that a person edits counts, except secrets (encrypted columns) and those left out here. Switches of what
does not work without its secret are left out: somebody switches it on once the secret was entered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Model, QuerySet

from accounts.models import Attribute, DepartmentGroup, DirectoryPolicy, SignInPolicy
from accounts.models.groups import ROLE_PREFIX
from integrations.models import BiConnection, Card, Corp, DataSource, SiteAddress, VerificationFile
from notifications.models import (
    AlertReceiver,
    AlertRoute,
    AlertRule,
    AttributeRule,
    InboundChannel,
    OperatorContacts,
    OwnRowsRule,
    PagePicture,
    Report,
    ReportCard,
    ReportChart,
    Robot,
    SilenceWindow,
    Subscription,
    WorkdayCalendar,
)


@dataclass(frozen=True)
class Child:
    """Rows that belong to one of a kind, in their order; `parent`: their column for it."""

    name: str
    model: type[Model]
    parent: str
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Kind:
    """`section`: its name in the file. `name_of`: by what a row is known; among equal names a number follows.

    `also`: columns that no form edits and that count. `rows`: those that are exported.
    """

    section: str
    model: type[Model]
    name_of: Callable[[Any], str]
    left_out: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    children: tuple[Child, ...] = ()
    rows: Callable[[QuerySet[Any]], QuerySet[Any]] = lambda rows: rows


def _the_one(_row: Model) -> str:
    return "the one"


# In this order they are written: none refers to a later one.
KINDS = (
    Kind("site_addresses", SiteAddress, lambda row: row.url),
    Kind("user_attributes", Attribute, lambda row: row.key),
    Kind(
        "groups",
        Group,
        lambda row: row.name,
        # Rights are not configuration; roles are defined in code.
        left_out=frozenset({"permissions"}),
        rows=lambda rows: rows.exclude(name__startswith=ROLE_PREFIX),
    ),
    Kind("sign_in", SignInPolicy, _the_one),
    Kind(
        "companies",
        Corp,
        lambda row: row.name,
        left_out=frozenset({"is_enabled"}),
        also=frozenset({"noted_ips"}),
        children=(
            Child("directory", DirectoryPolicy, "corp"),
            Child(
                "verification_files",
                VerificationFile,
                "corp",
                frozenset({"uploaded_at", "check_requested_at", "checked_at", "checked_url", "outcome", "detail"}),
            ),
        ),
    ),
    Kind(
        "department_groups",
        DepartmentGroup,
        lambda row: f"{row.department.corp.name} / {row.department.wecom_department_id} → {row.group.name}",
        # Lending rights stays a superuser's decision: it is made by saving the row.
        left_out=frozenset({"may_lend_rights"}),
    ),
    Kind("bi", BiConnection, _the_one, left_out=frozenset({"is_enabled"})),
    Kind("data_sources", DataSource, lambda row: row.name),
    Kind("cards", Card, lambda row: f"{row.source.name} / {row.name}"),
    Kind("robots", Robot, lambda row: f"{row.corp.name} / {row.name}"),
    Kind("told_of_standstills", OperatorContacts, _the_one),
    Kind("workday_calendar", WorkdayCalendar, _the_one),
    Kind(
        "reports",
        Report,
        lambda row: row.title,
        children=(
            Child("cards", ReportCard, "report"),
            Child("charts", ReportChart, "report"),
            Child("own_rows", OwnRowsRule, "report"),
            # With whose rights a picture is taken is that person's decision.
            Child("page_picture", PagePicture, "report", frozenset({"shown_as", "ended_by", "ended_at"})),
        ),
    ),
    Kind(
        "pushes",
        Subscription,
        lambda row: row.name,
        children=(Child("attribute_rules", AttributeRule, "subscription", frozenset({"receiver"})),),
    ),
    Kind(
        "alert_receivers",
        AlertReceiver,
        lambda row: row.name,
        also=frozenset({"is_shared"}),
        children=(Child("attribute_rules", AttributeRule, "receiver", frozenset({"subscription"})),),
    ),
    Kind(
        "alert_rules",
        AlertRule,
        lambda row: row.name,
        children=(Child("silences", SilenceWindow, "rule"),),
    ),
    Kind(
        "alert_routes",
        AlertRoute,
        lambda row: row.name,
        # Senders are API tokens, which are secrets; a limited route without senders takes nothing.
        left_out=frozenset({"senders"}),
        also=frozenset({"is_limited_to_senders"}),
    ),
    Kind(
        "inbound_channels",
        InboundChannel,
        lambda row: row.name,
        left_out=frozenset({"is_enabled"}),
        also=frozenset({"public_id"}),
    ),
)
BY_MODEL = {kind.model: kind for kind in KINDS}
