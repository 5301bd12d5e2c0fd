"""The menu of the administration: sections, entries for tasks, and their tabs.

A tab is a model's list, or a page that belongs to it. People who may not see a list do not see its tabs. An entry
without visible tabs is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

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
    """The list of `model` ("app_label.Model"), or a page that belongs to it. `label`: empty for the model's name.
    `page`: the page's URL name in the administration; everybody who may see the list may open the page.
    `url` and `is_current` are set when a menu is built."""

    model: str
    label: StrOrPromise = ""
    page: str = ""
    url: str = ""
    is_current: bool = False


@dataclass(frozen=True)
class Entry:
    """A menu entry for a task. Its link leads to the first tab."""

    label: StrOrPromise
    tabs: tuple[Tab, ...]

    @property
    def url(self) -> str:
        return self.tabs[0].url

    @property
    def current_tab(self) -> Tab | None:
        """The current page's tab, if it belongs to this entry."""
        return next((tab for tab in self.tabs if tab.is_current), None)


@dataclass(frozen=True)
class Section:
    label: StrOrPromise
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Place:
    """The place of the current page in the menu. `tab`: None for the first one, to which the entry leads. `label` and
    `url`: of the tab if there is one, else of the entry."""

    section: StrOrPromise
    entry: Entry
    tab: Tab | None
    label: StrOrPromise
    url: str


@dataclass(frozen=True)
class Menu:
    """The entries that a user may see. `place`: None for pages outside the menu, such as the overview."""

    sections: list[Section]
    place: Place | None


def _make_entry(label: StrOrPromise, *tabs: Tab | tuple[str, StrOrPromise] | str) -> Entry:
    """Make an entry. `tabs`: each is a Tab, the name of a model, or a pair of such a name and a label."""
    all_tabs = (Tab(tab) if isinstance(tab, str) else Tab(*tab) if isinstance(tab, tuple) else tab for tab in tabs)
    return Entry(label, tuple(all_tabs))


# The templates add the overview as the first entry.
SECTIONS = (
    Section(
        pgettext_lazy("menu", "Push"),
        (
            _make_entry(
                pgettext_lazy("menu", "Pushes"),
                "notifications.Subscription",
                Tab("notifications.Subscription", _("What goes out when"), "notifications_subscription_week"),
            ),
            _make_entry(
                pgettext_lazy("menu", "Alerts"),
                ("notifications.AlertRule", pgettext_lazy("menu", "Rules")),
                ("notifications.Incident", pgettext_lazy("menu", "Incidents")),
            ),
            _make_entry(
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
        (_make_entry(pgettext_lazy("menu", "Data and data sources"), "integrations.Card", "integrations.DataSource"),),
    ),
    Section(
        pgettext_lazy("menu", "People"),
        (
            _make_entry(
                pgettext_lazy("menu", "People"),
                "accounts.User",
                ("accounts.PeopleImport", pgettext_lazy("menu", "Import")),
                ("accounts.Attribute", pgettext_lazy("menu", "Attributes")),
                "auth.Group",
                ("accounts.LinkConflict", pgettext_lazy("menu", "Not linked")),
            ),
            _make_entry(
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
            _make_entry(pgettext_lazy("menu", "WeCom configuration"), "integrations.Corp"),
            _make_entry(pgettext_lazy("menu", "Guandata BI"), "integrations.BiConnection"),
            _make_entry(
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
            _make_entry(
                pgettext_lazy("menu", "Settings"),
                "integrations.SiteAddress",
                "accounts.SignInPolicy",
                "accounts.Lockout",
                "notifications.WorkdayCalendar",
                "notifications.OperatorContacts",
                "django_celery_beat.PeriodicTask",
                Tab("integrations.SiteAddress", pgettext_lazy("menu", "State of operation"), "maintenance"),
            ),
            _make_entry(
                pgettext_lazy("menu", "Audit and jobs"),
                ("accounts.AuditEntry", pgettext_lazy("menu", "Audit")),
                "integrations.Job",
            ),
        ),
    ),
)


def build_menu(site: AdminSite, request: HttpRequest) -> Menu:
    """Return the menu that the user may see, with the current entry and tab marked."""
    sections: list[Section] = []
    place: Place | None = None
    for section in _build_whole_menu(get_script_prefix()):
        entries = []
        for entry in section.entries:
            admins = [(tab, site.get_model_admin(apps.get_model(tab.model))) for tab in entry.tabs]
            tabs = [
                tab
                for tab, model_admin in admins
                if model_admin.has_module_permission(request) and model_admin.has_view_or_change_permission(request)
            ]
            if not tabs:
                continue
            # The longest match, since the address of a page may begin with that of its list.
            current_url = max((tab.url for tab in tabs if request.path.startswith(tab.url)), key=len, default="")
            marked = replace(entry, tabs=tuple(replace(tab, is_current=tab.url == current_url) for tab in tabs))
            entries.append(marked)
            if current_url and place is None:
                tab = marked.current_tab if marked.current_tab is not marked.tabs[0] else None
                target = tab or marked
                place = Place(section.label, marked, tab, target.label, target.url)
        if entries:
            sections.append(replace(section, entries=tuple(entries)))
    return Menu(sections, place)


@cache
def _build_whole_menu(prefix: str) -> tuple[Section, ...]:
    """Return the menu with all tabs; labels are lazy. `prefix`: the site's path in the URLs, the key of the cache."""
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
