"""Deadlines, broken connections, TLS, proxies and reuse of connections, which only a real socket can show."""

from __future__ import annotations

import gzip
import socket
import threading

import pytest

from integrations.clients import transport
from integrations.clients.errors import IntegrationError, OutcomeUnknownError, TransientError, UnexpectedResponseError
from integrations.clients.wecom.calls import Timeouts
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.tokens import FetchedToken, TokenStore, TrialTokens
from tests.integrations.clients.wecom.contract import KINDS, open_client
from tests.integrations.clients.wecom.misbehaviour import BREAKS, DRIPS, StandingClock, drips_body, hangs
from tests.integrations.clients.wecom.server import WireServer
from tests.wecom import AGENTID, CORPID, SECRET

PATIENT = Timeouts(connect_seconds=10, total_seconds=20, transfer_seconds=20)
# No part of a call may take longer while the clock of its deadline stands still.
SHORT = Timeouts(connect_seconds=60, total_seconds=0.1, transfer_seconds=0.1)
AT_THE_DEADLINE = r"the connection failed before the answer was complete \((Read)?TimeoutError\)$"


@pytest.fixture
def sim(wire: WireServer) -> WireServer:
    wire.valid_secret = SECRET
    return wire


def _app_client(sim: WireServer, timeouts: Timeouts = PATIENT) -> WeComClient:
    client = open_client(base_url=sim.url, timeouts=timeouts)
    assert isinstance(client, WeComClient)
    return client


def _with_token(sim: WireServer) -> TrialTokens:
    """Return a store that already holds the app's token."""
    sim.valid_token = "token-in-use"
    store = TrialTokens()
    store.get(CORPID, AGENTID, lambda: FetchedToken(sim.valid_token, 7200))
    return store


@pytest.mark.parametrize("stall", ["silence", *DRIPS])
@pytest.mark.usefixtures("clock")
def test_silence_and_a_slow_drip_end_at_the_deadline(sim: WireServer, stall: str) -> None:
    """Let the client give up first: the other side would do so later, with another error."""
    sim.misbehave["/cgi-bin/message/send"] = DRIPS.get(stall, hangs)
    timeouts = PATIENT if stall in DRIPS else SHORT
    client = open_client(base_url=sim.url, timeouts=timeouts, token_store=_with_token(sim))

    with pytest.raises(OutcomeUnknownError, match=AT_THE_DEADLINE):
        KINDS[1].call(client)


@pytest.mark.parametrize("break_off", BREAKS)
def test_after_a_broken_connection_a_send_is_unclear_and_a_read_may_be_tried_again(
    sim: WireServer, break_off: str
) -> None:
    sim.misbehave["/cgi-bin/message/send"] = sim.misbehave["/cgi-bin/agent/get"] = BREAKS[break_off]

    with pytest.raises(OutcomeUnknownError):
        _app_client(sim).message_send(b"{}")
    # The first client's connection may be kept, and the server may close it at any moment.
    with pytest.raises(TransientError):
        _app_client(sim).agent_get()

    assert (sim.calls["/cgi-bin/message/send"], sim.calls["/cgi-bin/agent/get"]) == (1, 1)


def test_an_answer_without_end_is_cut_off(sim: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_BYTES_AT_MOST", 1000)
    bomb = gzip.compress(b" " * 100_000)

    def explode(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        connection.sendall(head.encode() + bomb)

    sim.misbehave["/cgi-bin/agent/get"] = explode

    with pytest.raises(UnexpectedResponseError, match="the answer is longer than"):
        _app_client(sim).agent_get()


def test_the_deadline_is_for_the_call_with_its_token(sim: WireServer, clock: StandingClock) -> None:
    sim.before_token = lambda: clock.set_forward(14)

    def hold_up(connection: socket.socket) -> None:
        clock.set_forward(7)
        drips_body(connection)

    sim.misbehave["/cgi-bin/message/send"] = hold_up

    with pytest.raises(OutcomeUnknownError, match=AT_THE_DEADLINE):
        _app_client(sim, Timeouts(total_seconds=20)).message_send(b"{}")

    # It stopped at the first reading after 20 s. Twenty seconds from the token on would have taken more readings.
    assert len([moment for moment in clock.readings if moment >= 20]) == 1


def test_a_send_that_could_only_time_out_is_not_begun(sim: WireServer, clock: StandingClock) -> None:
    sim.before_token = lambda: clock.set_forward(16)

    with pytest.raises(TransientError) as caught:
        _app_client(sim, Timeouts(total_seconds=20)).message_send(b"{}")

    assert caught.value.message == "no time was left to send"
    assert sim.calls == {"/cgi-bin/gettoken": 1}


def test_waiting_for_another_callers_token_ends_at_the_deadline(sim: WireServer, store: TokenStore) -> None:
    is_asked, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        is_asked.set()
        go_on.wait(60)

    sim.before_token = hold_up
    slow, waiting = (
        open_client(base_url=sim.url, timeouts=timeouts, token_store=store)
        for timeouts in (Timeouts(total_seconds=120), SHORT)
    )
    thread = threading.Thread(target=slow.agent_get)  # type: ignore[union-attr]  # no robot without a case
    thread.start()
    assert is_asked.wait(60)

    with pytest.raises(TransientError):
        waiting.agent_get()  # type: ignore[union-attr]  # no robot without a case

    assert thread.is_alive()  # the other one still waits for WeCom
    go_on.set()
    thread.join()


def test_one_connection_serves_a_process_until_wecom_closes_it(
    sim: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _app_client(sim)

    for _ in range(10):
        client.agent_get()
        client.message_send(b"{}")
    assert sim.connection_count == 1

    sim.close_connections()
    client.message_send(b"{}")
    assert sim.connection_count == 2

    monkeypatch.setattr("os.getpid", lambda: 1)  # as after a fork
    client.agent_get()
    client.agent_get()
    assert sim.connection_count == 3


def test_a_file_name_goes_out_in_raw_utf8(sim: WireServer) -> None:
    with pytest.raises(IntegrationError):  # the fake's answer has no media_id
        _app_client(sim).media_upload(b"1,2,3\n", kind="file", file_name='日报"1".csv', media_type="text/csv")

    head, _, rest = sim.bodies[0].partition(b"\r\n\r\n")
    boundary = head.partition(b"\r\n")[0]
    assert head == (
        boundary
        + '\r\nContent-Disposition: form-data; name="media"; filename="日报_1_.csv"\r\nContent-Type: text/csv'.encode()
    )
    assert rest == b"1,2,3\n\r\n" + boundary + b"--\r\n"
