"""More sign-ins and more callbacks than web can answer."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from benchmarks.goals import Found, Goal
from benchmarks.load import traffic
from benchmarks.load.town import THREADS, make_company, start_web
from benchmarks.load.traffic import Answer, ask, pour
from benchmarks.push_world import World, corpid, running_world
from benchmarks.sign_in_world import WECOM

TOO_MANY = 1.5
CALLBACKS_PER_SECOND = 1000
GOAL_MILLISECONDS = 1000
# WeCom's repeats, and those of other programs: each waits twice as long as the one before.
TRIES = 12
# A browser comes again by itself, each time after the same while, for as long as the person lets it.
BROWSER_TRIES = 100
# People come from one address and are of one company, whose limits are another subject.
ALL_FROM_HERE = {"SIGN_INS_PER_ADDRESS": "1000000", "SIGN_INS_PER_COMPANY": "1000000"}


class SignIns:
    """People who sign in through WeCom. `answers`: all that the web said. `has_in`: how many of them are in."""

    def __init__(self, world: World, port: int, corp: Any, people: int) -> None:
        sandbox = world.sandbox
        assert sandbox is not None
        self._port, self._wecom_port = port, urlsplit(sandbox.base_url).port or 0
        self._corp, self._people = corp, people
        self.answers: list[Answer] = []
        self.are_in: Counter[int] = Counter()

    async def sign_in(self, number: int, since: float) -> None:
        start = await self._asked(traffic.get(f"/wecom/{self._corp.pk}/start/", agent=WECOM), since)
        sent_to = parse_qs(urlsplit(start.header("location")).query)
        if not sent_to:
            return
        cookies = "; ".join(one.split(";")[0] for one in start.headers("set-cookie"))
        back = urlsplit(sent_to["redirect_uri"][0])
        code = await self._code(number, sent_to["redirect_uri"][0])
        query = urlencode({"code": code, "state": sent_to["state"][0]})
        last = await self._asked(traffic.get(f"{back.path}?{query}", cookies=cookies, agent=WECOM), None)
        if last.status == 302 and last.header("location") == "/":
            self.are_in[number] += 1

    async def _asked(self, request: bytes, since: float | None) -> Answer:
        """Again and again while the web says that it is busy, as a browser does by itself."""
        for _try in range(BROWSER_TRIES):
            answer = await ask(self._port, request, since=since)
            self.answers.append(answer)
            if not answer.is_refusal:
                break
            await _wait_as_told(answer)
            since = None
        return answer

    async def _code(self, number: int, redirect_uri: str) -> str:
        """From the sandbox, where the person passes the authorise page."""
        path = f"/sandbox/api/companies/{corpid(0)}/members/U{number % self._people}/authorize"
        body = json.dumps({"redirect_uri": redirect_uri}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._wecom_port)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        received = await reader.read()
        writer.close()
        return str(json.loads(received.partition(b"\r\n\r\n")[2])["code"])

    async def per_second(self, seconds: float) -> float:
        """How many sign-ins the web processes can do. No more come at once than one process has threads: none waits
        behind another, or is refused."""
        end, before = time.perf_counter() + seconds, self.are_in.total()

        async def one_after_the_other(first: int) -> None:
            number = first
            while time.perf_counter() < end:
                await self.sign_in(number, time.perf_counter())
                number += THREADS

        started = time.perf_counter()
        await asyncio.gather(*map(one_after_the_other, range(THREADS)))
        return (self.are_in.total() - before) / (time.perf_counter() - started)


def sign_ins(seconds: float = 20, people: int = 2000) -> Found:
    """Half as many again as web can do, for `seconds`."""
    with running_world(**ALL_FROM_HERE) as world:
        corp = make_company(world, people)
        port, _web = start_web(world)
        visits = SignIns(world, port, corp, people)
        asyncio.run(visits.per_second(5))  # all is loaded then
        capacity = asyncio.run(visits.per_second(10))
        visits.answers.clear()
        visits.are_in.clear()
        count = round(TOO_MANY * capacity * seconds)

        def one(number: int) -> Callable[[float], Any]:
            return lambda since: visits.sign_in(number, since)

        asyncio.run(pour(map(one, range(count)), per_second=TOO_MANY * capacity))
    found = traffic.summary(visits.answers)
    lost = count - len(visits.are_in)
    figures = {
        "capacity_per_second": round(capacity, 1),
        "sign_ins": count,
        "lost": lost,
        "doubled": visits.are_in.total() - len(visits.are_in),
        **found,
    }
    work = f"{TOO_MANY} times the sign-ins that web can do"
    return figures, [Goal.of(f"{work}: lost", lost, "=", 0), *_answer_goals(work, found)]


def callbacks(seconds: float = 3) -> Found:
    """A thousand events a second, each of another person; WeCom repeats what was refused."""
    with running_world() as world:
        corp, requests = _company_with_keys(), list[bytes]()
        requests.extend(events(corp, round(CALLBACKS_PER_SECOND * seconds)))
        port, _web = start_web(world)
        answers: list[Answer] = []
        taken: list[int] = []

        async def deliver(request: bytes, since: float) -> None:
            moment: float | None = since
            for tries in range(1, TRIES + 1):
                answer = await ask(port, request, since=moment)
                answers.append(answer)
                if answer.status == 200:
                    taken.append(tries)
                if not answer.is_refusal:
                    return
                await _wait_as_told(answer, tries - 1)
                moment = None

        def one(request: bytes) -> Callable[[float], Any]:
            return lambda since: deliver(request, since)

        asyncio.run(pour(map(one, requests[:50]), per_second=20))  # all is loaded then
        answers.clear()
        started = time.perf_counter()
        asyncio.run(pour(map(one, requests[50:]), per_second=CALLBACKS_PER_SECOND))
        lasted = time.perf_counter() - started
        from integrations.models import CallbackEvent

        stored, kinds = CallbackEvent.objects.count(), CallbackEvent.objects.values("key").distinct().count()
    found = traffic.summary(answers)
    figures = {
        "events": len(requests),
        "stored": stored,
        "lost": len(taken) - kinds,
        "doubled": stored - kinds,
        "seconds": round(lasted, 1),
        "stored_per_second": round((len(taken) - 50) / lasted, 1),
        "tries_at_most": max(taken, default=0),
        **found,
    }
    work = f"{CALLBACKS_PER_SECOND:,} callbacks a second"
    return figures, [
        Goal.of(f"{work}: answered", len(taken), "=", len(requests)),
        Goal.of(f"{work}: lost", len(taken) - kinds, "=", 0),
        Goal.of(f"{work}: doubled", stored - kinds, "=", 0),
        *_answer_goals(work, found),
    ]


async def _wait_as_told(answer: Answer, doubled: int = 0) -> None:
    """`doubled`: how often the time told is."""
    await asyncio.sleep(float(answer.header("retry-after")) * 2**doubled * random.uniform(1, 1.2))  # noqa: S311  # no secret


def _answer_goals(work: str, found: dict[str, Any]) -> list[Goal]:
    others = sum(found["other_answers"].values())
    return [
        Goal.of(f"{work}: refused, and not told when to come again", others, "=", 0),
        Goal.of(f"{work}: p99 of the served", found["served_p99_ms"], "<", GOAL_MILLISECONDS, "ms", digits=1),
    ]


def _company_with_keys() -> Any:
    from integrations.models import Corp

    corp = Corp(name="北山制造", corpid=corpid(0), secret="s", is_enabled=True, api_base_url="http://127.0.0.1:9")
    return company_keys(corp)


def company_keys(corp: Any) -> Any:
    """For its callbacks."""
    from tests.integrations.callback_sender import with_keys

    return with_keys(corp, corpid=corp.corpid)


def events(corp: Any, count: int) -> Iterator[bytes]:
    from tests.integrations.callback_sender import AGENTID, Sender, event_xml

    """Requests that WeCom would send, each of another person."""
    sender = Sender(f"/wecom/{corp.pk}/events/", receiveid=corp.corpid)
    now = int(time.time())
    for number in range(count):
        plaintext = event_xml(corpid=corp.corpid, name="subscribe", created_at=now, AgentID=AGENTID).replace(
            "sys", f"u{number}"
        )
        query, body = sender.sealed(plaintext)
        yield traffic.post(f"{sender.path}?{urlencode(query)}", body)
