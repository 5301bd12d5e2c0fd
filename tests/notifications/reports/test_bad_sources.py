"""Fifty slow, huge, failing and lying sources beside good ones: the other reports of the slot are sent.

The fetches run in threads as in the worker for data, over real connections and with the real processes that limit them.
The tests do by hand what would be queued.
"""

import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from integrations.data import Problem
from integrations.datasources import fetch
from integrations.models import Card, CardData, DataSource
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Run
from tests.bi import make_bi
from tests.integrations.clients.sources.test_http_json import CASES as JSON_CASES
from tests.integrations.clients.sources.test_http_json import says_json
from tests.integrations.clients.sources.web import Answer, says, web_service
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription
from tests.notifications.reports.places import make_data_report

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
# The number of threads of the worker for the queue `data` (docs/en/data-sources.md).
THREADS = 8
PATIENCE_SECONDS = 120
# Each needs a second of CPU time, and other tests cover it.
TOO_DEAR = {"an expression that doubles for ever", "a gzip bomb", "never ends"}
ROWS = [{"区域": "华东", "销售额": 128}, {"区域": "华北", "销售额": 72}]


def is_silent(line: socket.socket, _request: bytes) -> None:
    line.recv(1)  # until the other side hangs up


def says_nonsense(line: socket.socket, _request: bytes) -> None:
    line.sendall(b"\xff" * 4000)


FURTHER: dict[str, tuple[Answer, dict[str, Any]]] = {
    "says more than it announced": (
        lambda line, _request: line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1,2,3]"), {}),
    "lies about its packing": (says(b"[1]", headers="Content-Encoding: gzip"), {}),
    "lies about its times": (says_json([{"n": "viel"}]), {"as_of_column": "n"}),
    "a status that is none": (lambda line, _request: line.sendall(b"HTTP/1.1 999 ?\r\n\r\n"), {}),
    "headers without end": (lambda line, _request: line.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000), {}),
    "only errors in its answer": (says_json({"error": "no such table"}), {"expression": "rows"}),
    "one enormous text": (says_json(["x" * 9_000_000]), {"expression": "[0].a"}),
}  # fmt: skip


def bad_cards(stack: ExitStack) -> dict[str, Card]:
    """Create one source and one card for each case."""
    cards: dict[str, Card] = {}

    def add(name: str, source: dict[str, Any], **question: Any) -> None:
        row = DataSource.objects.create(name=name, **{"timeout_seconds": 1, "allows_private_addresses": True, **source})
        cards[name] = Card.objects.create(name=name, source=row, **question)

    for name, (answer, expression, problem) in JSON_CASES.items():
        if name not in TOO_DEAR:
            seconds = 1 if problem is Problem.TOO_SLOW else 20
            service = {**web(stack, answer), "timeout_seconds": seconds}
            add(name, service, http_path="v1/facts", expression=expression)
    for name, (answer, question) in FURTHER.items():
        add(name, {**web(stack, answer), "timeout_seconds": 20}, **question)
    for kind in ("postgresql", "mysql"):
        for name, answer in (("silent", is_silent), ("nonsense", says_nonsense)):
            add(f"{kind} {name}", {"kind": "sql", "sql_url": f"{kind}://u:p@{place(stack, answer)}/db"}, sql="SELECT 1")
        add(f"{kind} gone", {"kind": "sql", "sql_url": f"{kind}://u:p@127.0.0.1:1/db"}, sql="SELECT 1")
    add("an inner address", {**web(stack, is_silent), "allows_private_addresses": False})
    add("an address that is none", {"kind": "sql", "sql_url": "sqlite:////etc/passwd"}, sql="SELECT 1")
    add("a query that writes", {"kind": "sql", "sql_url": "postgresql://u:p@127.0.0.1:1/db"}, sql="DELETE FROM t")
    make_bi(base_url=f"http://{place(stack, is_silent)}", api_login="robot", api_password="sim-password")
    add("a silent BI", {"kind": "guandata"}, bi_card_id="c1")
    return cards


def place(stack: ExitStack, answer: Answer) -> str:
    """Start a server that gives this answer and return its host and port."""
    if answer is is_silent or answer is says_nonsense:
        listener = socket.create_server(("127.0.0.1", 0))
        stack.callback(listener.close)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"
    return stack.enter_context(web_service(answer)).url.removeprefix("http://")


def serve(listener: socket.socket, answer: Answer) -> None:
    lines: list[socket.socket] = []
    try:
        while True:
            lines.append(listener.accept()[0])
            if answer is says_nonsense:
                answer(lines[-1], b"")
    except OSError:  # the test is over
        for line in lines:
            line.close()


def web(stack: ExitStack, answer: Answer) -> dict[str, Any]:
    return {"kind": "json", "http_url": f"http://{place(stack, answer)}", "allows_private_addresses": True}


def fetched(card: Card) -> None:
    """Fetch the card as the task does, in a thread of the worker."""
    try:
        row = CardData.objects.only("pk").get(card=card)
        fetch.fetch_row(row_id=row.pk, clock=timezone.now)
    finally:
        connection.close()


def go_out(card: Card) -> str:
    """Render the runs that wait for the card, as its follow-up task does, and return the message's text."""
    waiting = Run.objects.filter(subscription__report__report_cards__card=card, status=Run.Status.WAITING)
    for run_id in waiting.values_list("pk", flat=True):
        render_run(run_id=run_id, now=NOW)
    return Delivery.objects.get(run__subscription__report__report_cards__card=card).text


def test_many_bad_ones_before_the_good_ones_leave_each_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with ThreadPoolExecutor(THREADS) as pool, ExitStack() as stack:  # the stack closes before the pool waits
        bad = bad_cards(stack)
        good = []
        for number in range(3):
            source = DataSource.objects.create(name=f"good {number}", **web(stack, says_json(ROWS)))
            good.append(Card.objects.create(name=f"good {number}", source=source))
        assert len(bad) == 48
        person = make_person(make_corp(), "li")
        fetch.request_data([card.pk for card in bad.values()], slot_at=NOW, now=NOW)
        for card in good:
            report = make_data_report(card=card, title="日报", body="合计 {{ sales.sum('销售额') }}")
            render_run(run_id=make_run(make_subscription(person, report=report)).pk, now=NOW)

        futures: list[Future[None]] = [pool.submit(fetched, card) for card in [*bad.values(), *good]]
        for future in futures:
            future.result(timeout=PATIENCE_SECONDS)

        assert [go_out(card) for card in good] == ["合计 200"] * 3
        rows = {row.card.name: row for row in CardData.objects.filter(card__in=bad.values()).select_related("card")}
        assert not [name for name, row in rows.items() if row.status == "ready" or not row.problem]
        assert not [name for name, row in rows.items() if row.problem_code == Problem.UNEXPECTED]
        assert not [name for name, row in rows.items() if row.lease_token]
        again = {row.problem_code for row in rows.values() if row.status == "waiting"}
        assert again <= {Problem.UNREACHABLE, Problem.TOO_SLOW, Problem.BROKEN, Problem.BUSY}
        assert "sim-password" not in caplog.text
