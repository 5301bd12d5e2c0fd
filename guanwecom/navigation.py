"""The menu of the administration: entries by task, with tabs.

A tab is a model's list, or a page beside it. People who may not see a list do not see its tabs, nor an entry without
tabs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.urls import get_script_prefix, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True)
class Tab:
    """The list of `model` ("app_label.Model"), or a page beside it. `label`: empty for the model's own name. `page`:
    URL name of a page in the administration for all who may see the list."""

    model: str
    label: StrOrPromise = ""
    page: str = ""
    url: str = ""
    is_current: bool = False


@dataclass(frozen=True)
class Entry:
    """A task, which leads to its first tab."""

    label: StrOrPromise
    tabs: tuple[Tab, ...]

    @property
    def url(self) -> str:
        return self.tabs[0].url

    @property
    def current(self) -> Tab | None:
        """The current page's tab, if it belongs to this entry."""
        return next((tab for tab in self.tabs if tab.is_current), None)


@dataclass(frozen=True)
class Section:
    label: StrOrPromise
    entries: tuple[Entry, ...]


def _entry(label: StrOrPromise, *tabs: Tab | tuple[str, StrOrPromise] | str) -> Entry:
    """Make an entry. A text is a tab of that model, a pair a tab with its own label."""
    made = (Tab(tab) if isinstance(tab, str) else Tab(*tab) if isinstance(tab, tuple) else tab for tab in tabs)
    return Entry(label, tuple(made))


# Twelve entries, with the overview, which is no list.
SECTIONS = (
    Section(
        pgettext_lazy("menu", "Push"),
        (
            _entry(
                pgettext_lazy("menu", "Pushes"),
                "notifications.Subscription",
                Tab("notifications.Subscription", _("What goes out when"), "notifications_subscription_week"),
            ),
            _entry(
                pgettext_lazy("menu", "Alerts"),
                ("notifications.AlertRule", pgettext_lazy("menu", "Rules")),
                ("notifications.Incident", pgettext_lazy("menu", "Incidents")),
            ),
            _entry(
                pgettext_lazy("menu", "Delivery log"),
                ("notifications.Run", pgettext_lazy("menu", "Runs")),
                ("notifications.Delivery", pgettext_lazy("menu", "Messages")),
                ("notifications.Receipt", pgettext_lazy("menu", "By person")),
                ("notifications.CorpQueue", pgettext_lazy("menu", "Send queues")),
            ),
        ),
    ),
    Section(
        pgettext_lazy("menu", "Data"),
        (_entry(pgettext_lazy("menu", "Cards and data sources"), "integrations.Card", "integrations.DataSource"),),
    ),
    Section(
        pgettext_lazy("menu", "People"),
        (
            _entry(
                pgettext_lazy("menu", "Users"),
                "accounts.User",
                ("accounts.PeopleImport", pgettext_lazy("menu", "Import")),
                ("accounts.Attribute", pgettext_lazy("menu", "User attributes")),
                "auth.Group",
                ("accounts.LinkConflict", pgettext_lazy("menu", "Not linked")),
            ),
            _entry(
                pgettext_lazy("menu", "Directory"),
                "integrations.Member",
                "integrations.Department",
                ("integrations.SyncRun", pgettext_lazy("menu", "Synchronisation")),
                ("accounts.DirectoryPolicy", pgettext_lazy("menu", "Policy")),
                ("accounts.DepartmentGroup", pgettext_lazy("menu", "Groups of departments")),
            ),
        ),
    ),
    Section(
        pgettext_lazy("menu", "System integration"),
        (
            _entry(pgettext_lazy("menu", "WeCom configuration"), "integrations.Corp"),
            _entry(pgettext_lazy("menu", "Guandata BI"), "integrations.BiConnection"),
            _entry(
                pgettext_lazy("menu", "Channels"),
                "notifications.Robot",
                "notifications.InboundChannel",
                ("notifications.IncomingMessage", pgettext_lazy("menu", "Incoming messages")),
                "notifications.ApiToken",
            ),
        ),
    ),
    Section(
        pgettext_lazy("menu", "System"),
        (
            _entry(
                pgettext_lazy("menu", "Settings"),
                "integrations.SiteAddress",
                "accounts.SignInPolicy",
                "accounts.Lockout",
                "notifications.WorkdayCalendar",
                "notifications.OperatorContacts",
                "django_celery_beat.PeriodicTask",
                Tab("integrations.SiteAddress", pgettext_lazy("menu", "State of operation"), "maintenance"),
            ),
            _entry(
                pgettext_lazy("menu", "Audit and jobs"),
                ("accounts.AuditEntry", pgettext_lazy("menu", "Audit")),
                "integrations.Job",
            ),
        ),
    ),
)


def menu(site: AdminSite, request: HttpRequest) -> list[Section]:
    """Return the menu that the user may see, with the current entry and tab marked."""
    sections = []
    for section in _with_addresses(get_script_prefix()):
        entries = []
        for entry in section.entries:
            lists = [(tab, site.get_model_admin(apps.get_model(tab.model))) for tab in entry.tabs]
            tabs = [
                tab
                for tab, pages in lists
                if pages.has_module_permission(request) and pages.has_view_or_change_permission(request)
            ]
            if tabs:
                # The address of a page beside a list is below the list's.
                current = max((tab.url for tab in tabs if request.path.startswith(tab.url)), key=len, default="")
                marked = (replace(tab, is_current=tab.url == current) for tab in tabs)
                entries.append(replace(entry, tabs=tuple(marked)))
        if entries:
            sections.append(replace(section, entries=tuple(entries)))
    return sections


def find_place(sections: Iterable[Section]) -> dict[str, Any]:
    """Return the page's place in the menu; empty for pages outside it, such as the overview. `tab` is None for the
    first one, to which the entry leads."""
    for section in sections:
        for entry in section.entries:
            if entry.current is not None:
                tab = entry.current if entry.current is not entry.tabs[0] else None
                words = {"label": (tab or entry).label, "url": (tab or entry).url}
                return {"section": section.label, "entry": entry, "tab": tab, **words}
    return {}


@cache
def _with_addresses(prefix: str) -> tuple[Section, ...]:  # noqa: ARG001  # the site path under which they hold
    """Return the whole menu, built once a process; labels are translated when shown."""
    sections = []
    for section in SECTIONS:
        entries = []
        for entry in section.entries:
            tabs = []
            for tab in entry.tabs:
                options = apps.get_model(tab.model)._meta
                page = tab.page or f"{options.app_label}_{options.model_name}_changelist"
                label = tab.label or capfirst(options.verbose_name_plural)
                tabs.append(replace(tab, label=label, url=reverse(f"admin:{page}")))
            entries.append(replace(entry, tabs=tuple(tabs)))
        sections.append(replace(section, entries=tuple(entries)))
    return tuple(sections)
