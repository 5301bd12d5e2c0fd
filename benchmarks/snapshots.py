"""How many pictures of BI pages the browser of one worker takes in a minute, and what memory it needs.

Run `python -m benchmarks.snapshots`. Each picture is of another account of the sandbox's BI, on a page of four cards
that draw within a second. Without queue and database, whose share is small.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from benchmarks import runner
from benchmarks.goals import Found, Goal
from integrations.clients.guandata import keys
from integrations.clients.guandata.sso import Claims, entrance, sealed
from integrations.clients.snapshots.browser import Access, host_of, installed_browser
from integrations.clients.snapshots.lasting import LastingBrowser
from integrations.clients.snapshots.options import Options, PageMarks
from tests.bi_pages import card, rows_on
from tests.sandbox_process import SandboxHandle, start_sandbox

# 200 accounts within ten minutes, on two cores.
GOAL_PER_MINUTE = 20
ROWS = 12


def world(key: Any, accounts: int) -> dict[str, Any]:
    cards = [card(number, draws_after=delay) for number, delay in enumerate((0.1, 0.3, 0.6, 1.0))]
    users = [{"login_id": f"person{number}"} for number in range(accounts)]
    page = {"page_id": "board", "name": "看板", "cards": cards}
    bi = {"provider": "guanbi", "public_key": keys.public_line(key), "users": users, "pages": [page]}
    return {"companies": [], "bi": bi}


def address_of(sandbox: SandboxHandle, key: Any, number: int) -> str:
    claims = Claims(f"person{number}", int(time.time()), 60)
    base_url = f"{sandbox.base_url}/guandata"
    return entrance(base_url=base_url, page="/page/board", provider="guanbi", token=sealed(claims, key))


def measure(accounts: int) -> Found:
    """Raises SystemExit for a picture on which rows are missing."""
    key, most = keys.load(keys.generate()), 0
    with start_sandbox(seed=world(key, accounts)) as sandbox:
        access = Access((host_of(sandbox.base_url),))
        browser = LastingBrowser(installed_browser(), access, megabytes_at_most=3000)
        started = time.monotonic()
        for number in range(accounts):
            picture = browser.take(address_of(sandbox, key, number), Options(), PageMarks(card=".bi-card"))
            if rows_on(picture.content) != ROWS:
                raise SystemExit(f"picture {number} is not whole")
            most = max(most, browser.megabytes())
        seconds = time.monotonic() - started
        browser.close()
    rate = accounts / seconds * 60
    figures = {"pictures": accounts, "seconds": round(seconds), "per_minute": round(rate, 1), "browser_megabytes": most}
    return figures, [Goal.of("pictures of BI pages: a minute", rate, "≥", GOAL_PER_MINUTE, digits=1)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=200)
    options = parser.parse_args()
    load = runner.load()
    figures, wanted = measure(options.accounts)
    return runner.finish("snapshots", {"load_before": load, **figures}, wanted)


if __name__ == "__main__":
    sys.exit(main())
