"""What pages try that their Content-Security-Policy forbids, as Chromium reports it."""

from __future__ import annotations

from playwright.sync_api import BrowserContext

LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  const { violatedDirective, blockedURI, sourceFile, sample } = event;
  reportRefusal([location.pathname, violatedDirective, blockedURI, sourceFile, sample].join(" "));
});
"""


def refusals_in(context: BrowserContext) -> list[str]:
    """A list that grows by each thing that the context's pages are refused, and by each error of their scripts."""
    found: list[str] = []
    context.expose_binding("reportRefusal", lambda _source, text: found.append(text))
    context.add_init_script(LISTEN)
    context.on("weberror", lambda error: found.append(f"{error.page and error.page.url} {error.error}"))
    return found
