"""Routing of a host's requests to a local server, for pages with WeCom's own addresses."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Route


def lead(context: BrowserContext, host: str, address: str) -> None:
    """Route requests of the context's pages for `host` to `address`. Both have a scheme and no path."""

    def answer(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(host, address)))

    context.route(f"{host}/**", answer)


def close(context: BrowserContext) -> None:
    """Close a context with routes.

    Without this, Playwright raises an unfinished answer as an error in the next test.
    """
    context.unroute_all(behavior="ignoreErrors")
    context.close()
