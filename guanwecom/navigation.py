"""The menu of the administration: entries by task, and tabs for what belongs together.

A tab is the list of one model, or a page beside it. Who may not see a list sees no tab of it, and no entry without a
tab.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True)
class Tab:
    """The list of `model` ("app_label.Model"). `label`: empty takes the model's own name. `page`: the name of a page of
    the administration that stands beside the list, for whoever may see the list."""

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
    is_current: bool = False

    @property
    def url(self) -> str:
        return self.tabs[0].url


@dataclass(frozen=True)
class Section:
    label: StrOrPromise
    entries: tuple[Entry, ...]


def _entry(label: StrOrPromise, *tabs: Tab | tuple[str, StrOrPromise] | str) -> Entry:
    return Entry(label, tuple(map(_tab, tabs)))


def _tab(tab: Tab | tuple[str, StrOrPromise] | str) -> Tab:
    if isinstance(tab, Tab):
        return tab
    return Tab(tab) if isinstance(tab, str) else Tab(*tab)


# With the overview, which is no list, twelve entries.
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
                ("notifications.AlertRoute", pgettext_lazy("menu", "Routes")),
                ("notifications.AlertReceiver", pgettext_lazy("menu", "Receivers")),
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
                ("accounts.PeopleExport", pgettext_lazy("menu", "Export")),
                ("accounts.Attribute", pgettext_lazy("menu", "User attributes")),
                "auth.Group",
                ("accounts.LinkConflict", pgettext_lazy("menu", "Not linked")),
                ("accounts.LinkRequest", pgettext_lazy("menu", "Requests")),
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
                "notifications.OperatorContacts",
                "django_celery_beat.PeriodicTask",
            ),
            _entry(pgettext_lazy("menu", "Audit"), "accounts.AuditEntry"),
        ),
    ),
)


def menu(apps: Iterable[dict[str, Any]], path: str) -> list[Section]:
    """What of the menu a person may use. `apps`: as AdminSite.get_app_list gives them to that person; `path`: of the
    page that is shown, whose entry and tab are the current ones."""
    models = {
        f"{app['app_label']}.{model['object_name']}": model
        for app in apps
        for model in app["models"]
        if model.get("admin_url")
    }
    sections = [replace(section, entries=tuple(_entries(section, models, path))) for section in SECTIONS]
    return [section for section in sections if section.entries]


@dataclass(frozen=True)
class Place:
    """Where a page stands in the menu. `tab`: none where it is the first one, to which the entry leads."""

    section: StrOrPromise
    entry: Entry
    tab: Tab | None

    @property
    def label(self) -> StrOrPromise:
        return self.tab.label if self.tab else self.entry.label

    @property
    def url(self) -> str:
        return self.tab.url if self.tab else self.entry.url


def current_place(sections: Iterable[Section]) -> Place | None:
    """None for a page that is no part of the menu, such as the overview."""
    for section in sections:
        for entry in section.entries:
            for number, tab in enumerate(entry.tabs):
                if tab.is_current:
                    return Place(section.label, entry, tab if number else None)
    return None


def current_tabs(sections: Iterable[Section], path: str) -> tuple[Tab, ...]:
    """The row of tabs above a list: of the entry that has several, on their lists alone."""
    for section in sections:
        for entry in section.entries:
            if len(entry.tabs) > 1 and any(tab.url == path for tab in entry.tabs):
                return entry.tabs
    return ()


def _entries(section: Section, models: dict[str, dict[str, Any]], path: str) -> Iterator[Entry]:
    for entry in section.entries:
        tabs = [_filled(tab, models[tab.model]) for tab in entry.tabs if tab.model in models]
        # A page beside a list has an address below that of the list.
        current = max((tab.url for tab in tabs if path.startswith(tab.url)), key=len, default="")
        if tabs:
            marked = tuple(replace(tab, is_current=tab.url == current) for tab in tabs)
            yield replace(entry, tabs=marked, is_current=bool(current))


def _filled(tab: Tab, model: dict[str, Any]) -> Tab:
    url = reverse(f"admin:{tab.page}") if tab.page else str(model["admin_url"])
    return replace(tab, label=tab.label or model["name"], url=url)
