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
from wecom_sandbox.api import call
from wecom_sandbox.api.call import Request
from wecom_sandbox.control import entities, whole
from wecom_sandbox.control.entities import get_company_messages
from wecom_sandbox.control.whole import ROWS_AT_ONCE, between_calls
from wecom_sandbox.http.bodies import json_pieces
from wecom_sandbox.messages.inbox import Message
from wecom_sandbox.state import administration, snapshot
from wecom_sandbox.state.world import CallRecord, Company, World

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


def turns_during(work: Callable[[], Awaitable[object]]) -> int:
    """How often something else had its turn before the work was done."""

    async def count() -> int:
        large = asyncio.ensure_future(work())
        turns = 0
        while not large.done():
            await asyncio.sleep(0)
            turns += 1
        await large
        return turns

    return in_a_loop(count)


def request() -> web.Request:
    return make_mocked_request("GET", "/?limit=10000", match_info={"corpid": CORPID})


@pytest.mark.parametrize(
    ("handler", "document"),
    [
        (whole.put_state, {"companies": [company(members=people(), tags=[])]}),
        (entities.post_company, company(members=people(), tags=[])),
        (entities.post_members, people()),
    ],
    ids=["state", "company", "members"],
)
def test_others_have_their_turn_between_written_rows(world: World, handler: Any, document: object) -> None:
    assert turns_during(lambda: handler(request(), world, document)) >= PEOPLE / ROWS_AT_ONCE
    assert len(world.companies[CORPID].directory.members) == PEOPLE


@pytest.mark.parametrize("handler", [whole.get_state, entities.get_company, get_company_messages, whole.get_calls])
def test_others_have_their_turn_between_rows_of_an_answer(world: World, handler: Any) -> None:
    administration.put_members(world, world.companies[CORPID], list(people()))
    for number in range(PEOPLE):
        world.mail.deliver(Message(f"m{number}", CORPID, AGENTID, "text", {"content": "x"}, 0.0, receivers=("u1",)))
        world.log_call(CallRecord(0.0, "GET", "/cgi-bin/x", 0, "127.0.0.1", CORPID, AGENTID, "", 0.0))

    assert turns_during(lambda: handler(request(), world, None)) >= PEOPLE / ROWS_AT_ONCE


def test_others_have_their_turn_between_rows_of_a_snapshot(world: World) -> None:
    administration.put_members(world, world.companies[CORPID], list(people()))
    pieces = list(snapshot.pieces_of(world))
    first, *_ = b"".join(pieces).splitlines()

    fresh = World()
    turns = turns_during(lambda: between_calls(snapshot.restore_in_steps(fresh, 1, first)))

    assert len(pieces) > PEOPLE
    assert turns >= PEOPLE / ROWS_AT_ONCE
    assert administration.dump(fresh) == administration.dump(world)


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


def asked(world: World, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
    """A call of the directory-sync assistant."""
    secret = {"corpid": CORPID, "corpsecret": str(company()["contacts_secret"])}
    token = call.answer(world, "gettoken", Request("GET", "/cgi-bin/gettoken", secret, b"", "127.0.0.1"))
    query = {"access_token": json.loads(token.body)["access_token"], **query}
    sent = Request(method, f"/cgi-bin/{path}", query, json.dumps(body).encode(), "127.0.0.1")
    return dict(json.loads(call.answer(world, path, sent).body))


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
