"""Leading a host that a browser asks for to a server of ours, for pages whose addresses are WeCom's own."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Route


def lead(context: BrowserContext, host: str, address: str) -> None:
    """Let `address` answer whatever the context's pages ask of `host`; both with scheme, without a path."""

    def answer(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(host, address)))

    context.route(f"{host}/**", answer)


def close(context: BrowserContext) -> None:
    """Close a context that is led somewhere.

    An answer still under way then has nobody to go to, and Playwright would raise that in the next test.
    """
    context.unroute_all(behavior="ignoreErrors")
    context.close()
