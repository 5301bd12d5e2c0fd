"""Violations of the Content-Security-Policy, as Chromium reports them."""

from playwright.sync_api import BrowserContext

LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  const { violatedDirective, blockedURI, sourceFile, sample } = event;
  reportRefusal([location.pathname, violatedDirective, blockedURI, sourceFile, sample].join(" "));
});
"""


def refusals_in(context: BrowserContext) -> list[str]:
    """Return a list that grows with each violation of the context's pages and each error of their scripts."""
    found: list[str] = []
    context.expose_binding("reportRefusal", lambda _source, text: found.append(text))
    context.add_init_script(LISTEN)
    context.on("weberror", lambda error: found.append(f"{error.page and error.page.url} {error.error}"))
    return found
