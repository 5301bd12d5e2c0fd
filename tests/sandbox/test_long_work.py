"""Other calls are answered while a large one is under way: bulk writes and whole states."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from wecom_sandbox import server
from wecom_sandbox.control import entities, whole
from wecom_sandbox.control.whole import ROWS_AT_ONCE
from wecom_sandbox.http.bodies import json_pieces
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import Company, World

from tests.sandbox_process import AGENTID, CORPID, company

T = TypeVar("T")
PEOPLE = 20 * ROWS_AT_ONCE
JSON = {"Content-Type": "application/json"}


def people(number: int = PEOPLE) -> list[dict[str, Any]]:
    return [{"userid": f"u{one}", "name": "x", "department": [2]} for one in range(number)]


@pytest.fixture
def world() -> World:
    found = World()
    administration.put_company(found, company(members=[], tags=[]))
    return found


def in_a_loop(work: Callable[[], Awaitable[T]]) -> T:
    """In a thread of its own: a browser of an earlier test may have left its event loop in this one."""

    async def run() -> T:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def request() -> web.Request:
    return make_mocked_request("GET", "/?limit=10000", match_info={"corpid": CORPID})


def test_calls_are_answered_while_members_are_written(world: World) -> None:
    """Over the wire: whoever asks sees those who are there already."""

    async def count() -> list[int]:
        async with server.serving_on(world, server.Reach("127.0.0.1", 0)) as ports, ClientSession() as session:
            url = f"http://127.0.0.1:{ports.plain}/sandbox/api/companies"
            body = json.dumps(people())
            writing = asyncio.ensure_future(session.post(f"{url}/{CORPID}/members", data=body, headers=JSON))
            seen: list[int] = []
            while not writing.done():
                async with session.get(url) as answer:
                    seen.append((await answer.json())["companies"][0]["members"])
            assert (await (await writing).json()) == {"count": PEOPLE}
            return seen

    assert [number for number in in_a_loop(count) if 0 < number < PEOPLE]


def test_members_of_a_company_that_was_deleted_meanwhile_are_refused(world: World) -> None:
    async def write() -> None:
        writing = asyncio.ensure_future(entities.post_members(request(), world, people()))
        await asyncio.sleep(0)
        administration.remove_company(world, CORPID)
        await writing

    with pytest.raises(KeyError, match=CORPID):
        in_a_loop(write)


def test_a_wrong_state_changes_nothing_however_late_it_shows(world: World) -> None:
    wrong = [*people(), {"userid": "?", "name": "x"}]
    before = administration.dump(world)

    with pytest.raises(ValueError, match=r"userid '\?'"):
        in_a_loop(lambda: whole.put_state(request(), world, {"companies": [company(members=wrong)]}))

    assert administration.dump(world) == before


def test_a_state_is_what_was_there_when_it_was_asked_for(world: World) -> None:
    place: Company = world.companies[CORPID]
    administration.put_members(world, place, list(people(9)))
    expected = administration.dump(world)

    pieces = json_pieces(administration.dump(world, iter))
    first = next(pieces)
    administration.remove_member(world, place, "u5")
    administration.put_members(world, place, [{"userid": "u6", "name": "y"}])
    administration.put_apps(world, place, [{"agentid": AGENTID, "name": "z"}])

    assert json.loads(first + b"".join(pieces)) == expected
