"""Tokens: one fetch for all threads, and for all stores on one Valkey."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet
from redis.backoff import NoBackoff
from redis.retry import Retry

from integrations.clients.errors import ConfigurationError, RateLimitedError, TransientError
from integrations.clients.transport import open_session, read_boot_clock
from integrations.clients.wecom import tokens
from integrations.clients.wecom.calls import Timeouts, Wire
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.tokens import FetchedToken, TokenStore
from tests.integrations.clients.wecom.server import SECRET, WireServer, at_once

CORPID = "ww1a2b3c4d5e6f7a8b"
AGENTID = 1000002
KEY = Fernet.generate_key()
Stores = Callable[..., TokenStore]
LetPass = Callable[[int], None]


def open_client(url: str, store: TokenStore, secret: str = SECRET) -> WeComClient:
    timeouts = Timeouts(connect_seconds=10, total_seconds=20)
    wire = Wire(base_url=url, session=open_session(connections=200), timeouts=timeouts)
    return WeComClient(corpid=CORPID, agentid=AGENTID, secret=secret, token_store=store, wire=wire)


@pytest.fixture
def shared_redis(valkey_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(valkey_url)
    yield client
    client.close()


def shared_store(client: redis.Redis, **options: Any) -> TokenStore:
    cipher = Fernet(KEY)
    return TokenStore(client, encrypt=cipher.encrypt, decrypt=cipher.decrypt, **options)


@pytest.fixture
def new_store(shared_redis: redis.Redis) -> Stores:
    """A function that makes stores on the same Valkey."""
    return partial(shared_store, shared_redis)


@pytest.fixture
def let_pass(shared_redis: redis.Redis) -> LetPass:
    """A function that lets seconds pass for the keys in Valkey."""

    def pass_by(seconds: int) -> None:
        for key in shared_redis.scan_iter():
            shared_redis.pexpire(key, max(0, shared_redis.pttl(key) - seconds * 1000))

    return pass_by


class Fetch:
    """A stand-in for gettoken that gives numbered tokens, or raises a given error."""

    def __init__(self, *, expires_in: int = 7200, error: Exception | None = None) -> None:
        self.count = 0
        self.expires_in = expires_in
        self.error = error

    def __call__(self) -> FetchedToken:
        self.count += 1
        if self.error is not None:
            raise self.error
        return FetchedToken(f"token-{self.count}", self.expires_in)


class SlowFetch:
    """A gettoken that waits for the test, and then gives a token or an error."""

    def __init__(self, outcome: FetchedToken | Exception) -> None:
        self.outcome = outcome
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> FetchedToken:
        self.begun.set()
        self.go_on.wait(60)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    @contextmanager
    def under_way(self, call: Callable[[], object]) -> Iterator[list[object]]:
        """Make the call in another thread, whose fetch lasts until the block ends. Yield its results."""
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.extend(at_once(1, call)))
        thread.start()
        assert self.begun.wait(60)
        try:
            yield results
        finally:
            self.go_on.set()
            thread.join()


def wrong_secret(**known: Any) -> ConfigurationError:
    return ConfigurationError("invalid credential", system="wecom", operation="gettoken", code=40001, **known)


def test_200_calls_at_once_make_one_gettoken_and_one_more_when_it_was_revoked(
    wire: WireServer, new_store: Stores
) -> None:
    """Use four stores, as four processes have them."""
    wire.before_token = partial(time.sleep, 0.1)
    clients = itertools.cycle([open_client(wire.url, new_store()) for _process in range(4)])

    for gettoken_count in (1, 2):
        results = at_once(200, lambda: next(clients).agent_get())

        assert [type(result).__name__ for result in results] == ["Agent"] * 200
        assert wire.calls["/cgi-bin/gettoken"] == gettoken_count
        wire.revoke()
    assert wire.calls["/cgi-bin/agent/get"] == 400 + wire.refused["/cgi-bin/agent/get"]


def test_a_wrong_secret_under_200_calls_makes_one_gettoken_and_then_a_pause(
    wire: WireServer, new_store: Stores
) -> None:
    wire.before_token = partial(time.sleep, 0.1)
    store = new_store(pause_seconds=3600)
    client = open_client(wire.url, store, secret="wrong-secret-987654321")

    results = at_once(200, client.agent_get)

    assert [(type(result).__name__, getattr(result, "code", None)) for result in results] == [
        ("ConfigurationError", 40001)
    ] * 200
    assert wire.calls == {"/cgi-bin/gettoken": 1}
    pause = store.find_pause(CORPID, AGENTID)
    assert pause is not None
    assert (pause.kind, pause.code, pause.hint) == ("ConfigurationError", 40001, "1764000000123456789012345")
    assert 3000 < pause.remaining_seconds <= 3600


def test_the_pause_ends_by_itself_and_keeps_the_address_that_wecom_saw(new_store: Stores, let_pass: LetPass) -> None:
    store = new_store(pause_seconds=60)
    with pytest.raises(ConfigurationError):
        store.get(CORPID, AGENTID, Fetch(error=wrong_secret(caller_ip="203.0.113.9", hint="17640")))
    fetch = Fetch()
    with pytest.raises(ConfigurationError) as caught:
        store.get(CORPID, AGENTID, fetch)
    assert fetch.count == 0
    assert (caught.value.code, caught.value.caller_ip, caught.value.hint) == (40001, "203.0.113.9", "17640")

    let_pass(60)

    assert store.get(CORPID, AGENTID, fetch) == "token-1"


def test_a_refusal_for_frequency_is_shared_with_what_is_left_of_its_time(new_store: Stores) -> None:
    store = new_store()
    refusal = RateLimitedError(
        "api freq out of limit", system="wecom", operation="gettoken", code=45009, retry_after_seconds=3600
    )
    with pytest.raises(RateLimitedError):
        store.get(CORPID, AGENTID, Fetch(error=refusal))
    fetch = Fetch()

    with pytest.raises(RateLimitedError) as caught:
        store.get(CORPID, AGENTID, fetch)

    assert 3590 <= caught.value.retry_after_seconds <= 3600
    assert fetch.count == 0


def test_an_outage_is_shared_for_a_moment_only(
    new_store: Stores, let_pass: LetPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "BRIEF_PAUSE_SECONDS", 60)  # longer than 50 threads take on a busy machine
    store = new_store()
    outage = TransientError("no connection", system="wecom", operation="gettoken")
    fetch = Fetch(error=outage)

    results = at_once(50, lambda: store.get(CORPID, AGENTID, fetch))

    assert [type(result) for result in results] == [TransientError] * 50
    assert fetch.count == 1
    let_pass(60)
    assert store.get(CORPID, AGENTID, Fetch()) == "token-1"


def test_applications_do_not_share_a_token_and_only_the_refused_one_is_dropped(new_store: Stores) -> None:
    store, fetch = new_store(), Fetch()

    assert [store.get(CORPID, agentid, fetch) for agentid in (AGENTID, 1000003, None)] == [
        *("token-1", "token-2", "token-3")
    ]
    for _twice in range(2):
        store.drop(CORPID, AGENTID, "token-1")
        assert store.get(CORPID, AGENTID, fetch) == "token-4"
    assert store.get(CORPID, 1000003, fetch) == "token-2"


def test_a_secret_saved_during_a_fetch_with_the_old_one_wins(new_store: Stores) -> None:
    store = new_store()
    slow = SlowFetch(wrong_secret())

    with slow.under_way(lambda: store.get(CORPID, AGENTID, slow)) as results:
        store.forget(CORPID, AGENTID)

    assert [type(error) for error in results] == [ConfigurationError]
    assert store.find_pause(CORPID, AGENTID) is None
    assert store.get(CORPID, AGENTID, Fetch()) == "token-1"


def test_one_renews_ahead_of_the_end_while_the_others_go_on(new_store: Stores, let_pass: LetPass) -> None:
    store = new_store(copy_seconds=0)
    store.get(CORPID, AGENTID, Fetch())
    let_pass(7200 - 320)
    early = Fetch()
    assert (store.get(CORPID, AGENTID, early), early.count) == ("token-1", 0)
    let_pass(21)
    slow = SlowFetch(FetchedToken("renewed", 7200))

    with slow.under_way(lambda: store.get(CORPID, AGENTID, slow)) as results:
        others = at_once(20, lambda: store.get(CORPID, AGENTID, slow))

    assert others == ["token-1"] * 20
    assert results == ["renewed"]
    assert store.get(CORPID, AGENTID, Fetch()) == "renewed"


def test_a_failed_renewal_leaves_the_old_token_in_use_and_is_not_tried_by_everybody(
    new_store: Stores, let_pass: LetPass
) -> None:
    store = new_store(copy_seconds=0)
    store.get(CORPID, AGENTID, Fetch())
    let_pass(7200 - 100)
    failing = Fetch(error=wrong_secret())

    tokens = [store.get(CORPID, AGENTID, failing) for _ in range(5)]

    assert tokens == ["token-1"] * 5
    assert failing.count == 1
    pause = store.find_pause(CORPID, AGENTID)
    assert pause is not None
    assert pause.code == 40001


def test_a_token_given_again_with_the_rest_of_its_time_is_not_asked_for_on_every_call(
    new_store: Stores, let_pass: LetPass
) -> None:
    store = new_store(copy_seconds=0)
    fetched_at: list[int] = []

    for now in range(0, 7200, 20):

        def counts_down(now: int = now) -> FetchedToken:
            fetched_at.append(now)
            return FetchedToken("same", 7200 - now)

        assert store.get(CORPID, AGENTID, counts_down) == "same"
        let_pass(20)

    assert len(fetched_at) < 12


def test_an_expired_token_is_never_given(new_store: Stores, let_pass: LetPass, monkeypatch: pytest.MonkeyPatch) -> None:
    store, fetch, now = new_store(copy_seconds=60.0), Fetch(expires_in=50), read_boot_clock()
    assert store.get(CORPID, AGENTID, fetch) == "token-1"

    let_pass(50)
    monkeypatch.setattr(tokens, "read_boot_clock", lambda: now + 51)

    assert store.get(CORPID, AGENTID, fetch) == "token-2"


def test_who_waits_for_a_leader_that_died_gets_the_token_that_it_had_published(shared_redis: redis.Redis) -> None:
    store, fetch = shared_store(shared_redis, copy_seconds=0), Fetch()
    assert store.get(CORPID, AGENTID, fetch) == "token-1"
    [key] = shared_redis.scan_iter("*:token")
    published: Any = shared_redis.get(key)
    shared_redis.delete(key)
    shared_redis.set(key.removesuffix(b"token") + b"lead", "of the dead", ex=60)
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.extend(at_once(1, lambda: store.get(CORPID, AGENTID, fetch))))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()

    shared_redis.set(key, published, ex=7200)
    waiting.join()

    assert (got, fetch.count) == (["token-1"], 1)


def test_two_stores_of_one_valkey_share_tokens_but_for_their_copies(shared_redis: redis.Redis) -> None:
    here, there = (shared_store(shared_redis, copy_seconds=seconds) for seconds in (60, 0))
    fetch = Fetch()
    here.get(CORPID, AGENTID, fetch)

    assert there.get(CORPID, AGENTID, fetch) == "token-1"
    there.drop(CORPID, AGENTID, "token-1")
    assert there.get(CORPID, AGENTID, fetch) == "token-2"
    # `here` may use its copy for a while; once WeCom refuses that, it finds the other store's token without a fetch.
    assert here.get(CORPID, AGENTID, fetch) == "token-1"
    here.drop(CORPID, AGENTID, "token-1")
    assert here.get(CORPID, AGENTID, fetch) == "token-2"
    assert fetch.count == 2
    # A copy outlives a forgotten token as well. Once the copies are dropped, the token is fetched anew.
    there.forget(CORPID, AGENTID)
    assert here.get(CORPID, AGENTID, fetch) == "token-2"
    here.drop_copies(CORPID, AGENTID)
    assert here.get(CORPID, AGENTID, fetch) == "token-3"


def test_a_thread_that_is_just_reading_does_not_bring_a_dropped_token_back(shared_redis: redis.Redis) -> None:
    cipher = Fernet(KEY)
    shared_store(shared_redis).get(CORPID, AGENTID, Fetch())
    is_reading, go_on = threading.Event(), threading.Event()

    def slow_decrypt(sealed: bytes) -> bytes:
        is_reading.set()
        go_on.wait(60)
        return cipher.decrypt(sealed)

    store = TokenStore(shared_redis, encrypt=cipher.encrypt, decrypt=slow_decrypt, copy_seconds=60)
    fetch = Fetch()
    fetch.count = 1
    results: list[str] = []

    def drop_and_get() -> None:
        store.drop(CORPID, AGENTID, "token-1")
        results.append(store.get(CORPID, AGENTID, fetch))

    reader = threading.Thread(target=store.get, args=(CORPID, AGENTID, fetch))
    dropper = threading.Thread(target=drop_and_get)
    reader.start()
    is_reading.wait(60)
    dropper.start()
    time.sleep(0.1)
    go_on.set()
    reader.join()
    dropper.join()

    assert results == ["token-2"]


def test_what_lies_in_valkey_is_sealed_and_without_the_key_is_fetched_anew(shared_redis: redis.Redis) -> None:
    shared_store(shared_redis).get(CORPID, AGENTID, Fetch())

    names = list(shared_redis.scan_iter())

    assert names == [f"wecom:token:{{{CORPID}:{AGENTID}}}:token".encode()]
    stored = shared_redis.get(names[0])
    assert isinstance(stored, bytes)
    assert len(stored) > 100
    assert b"token-1" not in stored
    other = Fernet(Fernet.generate_key())
    with_another_key = TokenStore(shared_redis, encrypt=other.encrypt, decrypt=other.decrypt)
    assert with_another_key.get(CORPID, AGENTID, lambda: FetchedToken("fetched anew", 7200)) == "fetched anew"


def test_a_silent_valkey_is_an_outage_and_nobody_asks_wecom() -> None:
    client = redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    fetch = Fetch()

    with pytest.raises(TransientError) as caught:
        shared_store(client).get(CORPID, AGENTID, fetch)

    assert (caught.value.system, fetch.count) == ("valkey", 0)
