"""Takes pictures of the BI's pages as one account there sees them, by a browser of ours."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

from django.conf import settings

from integrations.bi import sso
from integrations.clients.errors import IntegrationError
from integrations.clients.snapshots.browser import Access, host_of, installed_browser
from integrations.clients.snapshots.lasting import LastingBrowser
from integrations.clients.snapshots.options import Options, PageMarks, Picture, Reason, SnapshotError, Width
from integrations.core import client_factory
from integrations.models import BiConnection
from integrations.models.fields import opened

# A BI whose first page takes longer is down.
ALIVE_WITHIN_SECONDS = 5


def take(path: str, identity: str, options: Options, *, now: datetime) -> Picture:
    """The page as `identity` sees it in the BI. Takes a minute at most, and some seconds where the browser hangs.

    `path`: of a page or card, without its first slash. Raises SnapshotError and sso.CannotEnter.
    """
    saved = sso.open_connection()
    try:
        return _browser.take(saved, path, identity, options, now=now)
    except SnapshotError as error:
        if error.reason == Reason.UNREACHABLE and _answers(saved):
            # It is this page that does not answer: the others need not wait for it.
            raise SnapshotError(Reason.ERROR_PAGE) from error
        raise


def _answers(saved: BiConnection) -> bool:
    """Whether the BI answers at its first page, whatever it says there."""
    try:
        found = client_factory.guandata_client(saved, total_seconds=ALIVE_WITHIN_SECONDS).open_page("/")
    except IntegrationError:
        return False
    return found.status < HTTPStatus.INTERNAL_SERVER_ERROR


class _BrowserSnapshots:
    """One browser for this process, signed in by our single sign-on anew for each picture."""

    def __init__(self) -> None:
        self._key: tuple[str, Access, int] | None = None
        self._lasting: LastingBrowser | None = None

    def take(self, saved: BiConnection, path: str, identity: str, options: Options, *, now: datetime) -> Picture:
        on_phone = options.width == Width.PHONE
        address = sso.entrance_as(saved, lambda: identity, page=path, query="", on_phone=on_phone, now=now)
        return self._running(saved).take(address, options, page_marks())

    def _running(self, saved: BiConnection) -> LastingBrowser:
        """Another connection has another browser: it reaches the BI's hosts alone."""
        hosts = (host_of(saved.base_url), *settings.SNAPSHOT_HOSTS)
        access = Access(hosts, proxy_url=opened(saved.proxy_url), time_zone=settings.TIME_ZONE)
        path = settings.SNAPSHOT_BROWSER or installed_browser()
        if not path:
            raise SnapshotError(Reason.NOT_INSTALLED)
        key = (path, access, settings.SNAPSHOT_MEGABYTES)
        if self._lasting is None or key != self._key:
            self.close()
            self._key = key
            self._lasting = LastingBrowser(path, access, megabytes_at_most=settings.SNAPSHOT_MEGABYTES)
        return self._lasting

    def close(self) -> None:
        if self._lasting is not None:
            self._lasting.close()
        self._key = self._lasting = None


def page_marks() -> PageMarks:
    """By which selectors this BI's pages are read."""
    return PageMarks(**{sign.lower(): selector for sign, selector in settings.SNAPSHOT_SELECTORS.items() if selector})


_browser = _BrowserSnapshots()
# Ends this process's browser, where it has one.
close = _browser.close
