"""Measure how fast the pages of an old installation are: `python -m benchmarks.pages [--rounds N]`.

100,000 people, 10,000 pushes, 5,100,000 receipts (benchmarks.page_world) in one PostgreSQL. A superuser and an
administrator of two of twenty companies open every list of the administration with each of its filters, searches,
orders and pages, the first row of each, and every page that the overview links to; an employee opens their own.

Requests are handed to the WSGI application of one process. Server time is the processor time of that process and of its
connection's PostgreSQL process, which other programs on this machine change little; the elapsed time is stored, too.
PostgreSQL uses one process per query, as if no other processor were free. Each page is opened once first, then `rounds`
times; its time is the median.

Goals: 95 of 100 pages of the administration take at most 150 ms and none more than 300 ms; an employee's home and a
message take at most 40 ms; no page needs more queries than in an installation with a tenth of the log, apart from
lists that are empty there. Results are added to benchmarks/results/pages.jsonl.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from django.db import connection

from benchmarks import goals, runner
from benchmarks.goals import Goal
from benchmarks.page_world import EMPLOYEE, OPERATOR, PASSWORD, ROOT, Size
from benchmarks.sign_in_world import BROWSER, Browser

Pages = dict[str, dict[str, Any]]
# Status of a page, or of a list that leads to its only row.
SHOWN = {HTTPStatus.OK, HTTPStatus.FOUND}
# The small one is a tenth. In a smaller one more filters would find nothing, which takes fewer queries.
SMALL, LARGE = Size(10_000, 1_000, 10_000), Size(100_000, 10_000, 100_000)
GOAL_P95, GOAL_WORST, GOAL_EMPLOYEE = 150.0, 300.0, 40.0
# A page is opened until its least number of queries occurred LEAST_SEEN times, but at most VISITS_AT_MOST times.
LEAST_SEEN, VISITS_AT_MOST = 3, 10
WORDS = ("7", "员工7777", "person7777", "日报7", "没有这样的")
# Texts for the filters of the log.
FILTER_TEXTS = [{"person": "person7777"}, {"person": "员工7777"}, {"push": "订阅777"}, {"push": "没有这样的"}]
# Selects that are not filters: the action for ticked rows, and the language.
_NO_FILTERS = {"action", "language"}
# Addresses that are not pages: they lead out, or make files.
EXCLUDED = ("/admin/logout/", "/admin/jsi18n/", "/docs/", "/static/")
_PAGE_LINK = re.compile(r"\?p=[0-9]+")
EMPLOYEE_PAGES = ("/", f"/?{urlencode({'q': '日报7'})}", "/subscriptions/", "/account/")


class _Links(HTMLParser):
    """Parser that collects the addresses on a page: its links, and the choices of its filters."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, None] = {}
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "a" and attributes.get("href"):
            self.found[str(attributes["href"])] = None
        elif tag == "select" and attributes.get("name") not in _NO_FILTERS:
            self._select = attributes.get("name") or ""
        elif tag == "option" and self._select and attributes.get("value"):
            self.found[f"?{urlencode({self._select: attributes['value']})}"] = None

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""


# --- In the process that is measured ----------------------------------------------------------------------------------


def measure(rounds: int) -> Pages:
    """Return the figures of each page. Its key: who opens it, and its address."""
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    found = {}
    for who, list_pages in ((ROOT, _list_admin_pages), (OPERATOR, _list_admin_pages), (EMPLOYEE, _list_own_pages)):
        browser = _sign_in(application, who)
        for path in list_pages(browser):
            found[f"{who} {path}"] = _measure_page(browser, path, rounds)
    return found


def _sign_in(application: Any, who: str) -> Browser:
    browser = Browser(application, BROWSER)
    browser.request("/login/")
    token = browser.cookies["csrftoken"]
    form = {"username": who, "password": PASSWORD, "csrfmiddlewaretoken": token}
    assert browser.request_target("/login/", form), "no sign-in"
    return browser


def _list_admin_pages(browser: Browser) -> list[str]:
    """Return every reachable page: those of the overview, each list with each of its filters, a row of each."""
    from django.contrib import admin
    from django.urls import reverse

    first = [path for path in _read_links(browser, "/admin/") if path.startswith("/admin/")]
    lists = {
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"): one
        for model, one in admin.site._registry.items()
    }
    pages = dict.fromkeys(["/admin/", *first, *(f"/admin/search/?{urlencode({'q': words})}" for words in WORDS)])
    for path, model_admin in lists.items():
        pages |= dict.fromkeys([path, *_list_linked_pages(path, _read_links(browser, path))])
        queries = [{"q": words} for words in WORDS] if model_admin.search_fields else []
        queries += FILTER_TEXTS if _has_log_filter(model_admin) else []
        pages |= dict.fromkeys(f"{path}?{urlencode(query)}" for query in queries)
    return [page for page in pages if not page.startswith(EXCLUDED) and not page.endswith("/add/")]


def _has_log_filter(model_admin: Any) -> bool:
    """Return whether the list has a LogFilter, the only filter with `has_words`, which also takes FILTER_TEXTS."""
    return any(hasattr(one, "has_words") for one in model_admin.list_filter)


def _list_linked_pages(path: str, links: list[str]) -> list[str]:
    """Return a list's own links, and those of its first row and that row's history."""
    later = [link for link in links if _PAGE_LINK.fullmatch(link)]
    left_out = set(later[1:-1])  # of the links to further pages, all but the first and the last
    queries = [f"{path}{link}" for link in links if link.startswith("?") and link not in left_out]
    rows = [link for link in links if link.startswith(path) and link.endswith("/change/")]
    return [*queries, *rows[:1], *(row.replace("/change/", "/history/") for row in rows[:1])]


def _list_own_pages(browser: Browser) -> list[str]:
    links = _read_links(browser, "/")
    older = [link for link in links if "older=" in link]
    messages = [link for link in links if link.startswith("/m/")]
    return [*EMPLOYEE_PAGES, *(f"/{urlsplit(link)._replace(path='').geturl()}" for link in older[:1]), *messages[:3]]


def _read_links(browser: Browser, path: str) -> list[str]:
    status, _headers, page = browser.request(path)
    parser = _Links()
    if status.startswith("200"):
        parser.feed(page.decode())
    return [link.partition("#")[0] for link in parser.found if link.partition("#")[0]]


def _measure_page(browser: Browser, path: str, rounds: int) -> dict[str, Any]:
    """Open a page several times. `queries`: the least number; other visits also read cached values again."""
    counts: list[int] = []
    processor, clock = [], []
    while len(counts) <= rounds or (counts.count(min(counts)) < LEAST_SEEN and len(counts) < VISITS_AT_MOST):
        statements: list[str] = []
        with connection.execute_wrapper(partial(_record_statement, statements)):
            began = time.perf_counter(), runner.read_processor_milliseconds(connection)
            status, _headers, page = browser.request(path)
            clock.append((time.perf_counter() - began[0]) * 1000)
            processor.append(runner.read_processor_milliseconds(connection) - began[1])
        counts.append(len(statements))
    return {
        "status": int(status[:3]),
        "queries": min(counts),
        "server_ms": round(statistics.median(processor[1 : 1 + rounds]), 1),
        "clock_ms": round(statistics.median(clock[1 : 1 + rounds]), 1),
        "is_empty": b'id="changelist-form"' in page and b'id="result_list"' not in page,
    }


def _record_statement(statements: list[str], execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
    statements.append(sql)
    return execute(sql, *arguments)


def prepare(size: Size) -> None:
    import django

    django.setup()
    from benchmarks.page_world import fill

    fill(size)


# --- In the process that compares -------------------------------------------------------------------------------------


def measure_installation(size: Size, rounds: int) -> Pages:
    """Return every page's figures in an installation of that size."""
    with runner.run_servers(DJANGO_SETTINGS_MODULE="benchmarks.page_settings") as servers:
        runner.migrate(servers.env)
        numbers = [str(number) for number in (size.people, size.pushes, size.runs)]
        runner.run_and_read("pages", "--prepare", *numbers, env=servers.env)
        found: Pages = runner.run_and_read("pages", "--measure", str(rounds), env=servers.env)
        return found


def summarise(small: Pages, large: Pages) -> dict[str, Any]:
    """Return the figures for the goals. `more_queries`: pages with more queries in the large installation."""
    shown = {name: page for name, page in large.items() if page["status"] in SHOWN}
    administration = {name: page["server_ms"] for name, page in shown.items() if not name.startswith(EMPLOYEE)}
    employee = {name: page["server_ms"] for name, page in shown.items() if name.startswith(EMPLOYEE)}
    both = [name for name in shown if name in small and not small[name]["is_empty"]]
    more = {name: [small[name]["queries"], large[name]["queries"]] for name in both}
    return {
        "pages": len(administration),
        "p50": statistics.median(administration.values()),
        "p95": statistics.quantiles(administration.values(), n=20)[-1],
        "worst": dict(sorted(administration.items(), key=lambda one: -one[1])[:20]),
        "employee": employee,
        "more_queries": {name: counts for name, counts in more.items() if counts[1] > counts[0]},
        "errors": [name for name, page in large.items() if page["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR],
    }


def report(found: dict[str, Any]) -> bool:
    """Print the figures. Return whether the goals are met."""
    worst, employee = max(found["worst"].values()), max(found["employee"].values())
    for title, pages in (("slowest pages of the administration", found["worst"]), ("employee", found["employee"])):
        print(f"{title}:")
        for name, milliseconds in pages.items():
            print(f"{milliseconds:8.1f} ms  {unquote(name)}")
    for name, counts in found["more_queries"].items():
        print(f"queries {counts[0]} -> {counts[1]}  {unquote(name)}")
    for name in found["errors"]:
        print(f"failed: {unquote(name)}")
    print(f"{found['pages']} pages of the administration")
    return goals.report_goals(
        [
            Goal.of("pages of the administration: p95", found["p95"], "≤", GOAL_P95, "ms", digits=1),
            Goal.of("pages of the administration: the slowest", worst, "≤", GOAL_WORST, "ms", digits=1),
            Goal.of("pages of employees: the slowest", employee, "≤", GOAL_EMPLOYEE, "ms", digits=1),
            Goal.of("pages: with more queries than in a small installation", len(found["more_queries"]), "=", 0),
            Goal.of("pages: failed", len(found["errors"]), "=", 0),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Open every page of an old installation.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each page is opened (3)")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(Size(*options.prepare))
        print("{}")
        return 0
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return 0
    before = runner.read_load()
    small, large = measure_installation(SMALL, 2), measure_installation(LARGE, options.rounds)
    found = summarise(small, large)
    is_met = report(found)
    raw = {name: list(page.values()) for name, page in large.items()}  # status, queries, milliseconds, is empty
    loads = {"load_before": before, "load": runner.read_load()}
    runner.add_result("pages", {**loads, **found, "is_met": is_met, "all": raw})
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
