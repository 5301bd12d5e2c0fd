"""A refused password does not reveal whether the username exists: same hashing, number of queries and page.

The work is counted, not timed: a password sign-in's time goes into the hasher and the database.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from tests.accounts.conftest import DESKTOP, Visitor, visitor

RIGHT, WRONG = "right-password-1", "wrong-password-1"
HASHER = f"{__name__}.CountingHasher"


class CountingHasher(PBKDF2PasswordHasher):
    """Production's hasher with few rounds, to be quick. It records the rounds of each use."""

    iterations = 7
    rounds: list[int | None] = []  # one list for all: Django makes an instance for each use

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        self.rounds.append(iterations or self.iterations)
        return super().encode(password, salt, iterations)


@pytest.fixture(autouse=True)
def _people(settings: Any, db: None) -> Iterator[None]:
    settings.PASSWORD_HASHERS = [HASHER]
    people: dict[str, dict[str, Any]] = {
        "known": {},
        "disabled": {"is_active": False},
        "passwordless": {"password": make_password(None)},
        "never-set": {"password": ""},
        "warm-up": {},
    }
    for name, values in people.items():
        User.objects.create(**{"username": name, "password": make_password(RIGHT), **values})
    try_password("warm-up", WRONG)
    yield
    CountingHasher.rounds.clear()


def try_password(username: str, password: str) -> tuple[int, int, list[int | None], str]:
    """Try a password. Return status, number of queries, rounds of hashing, and the page without its varying parts."""
    browser: Visitor = visitor(DESKTOP)
    browser.get("/login/", stay="1")
    CountingHasher.rounds.clear()
    with CaptureQueriesContext(connection) as queries:
        response = browser.client.post("/login/?stay=1", {"username": username, "password": password})
    assert browser.user_id is None
    page = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", response.content.decode()).replace(username, "NAME")
    return response.status_code, len(queries), list(CountingHasher.rounds), page


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("nobody-of-this-name", WRONG),
        ("nobody-of-this-name", RIGHT),
        ("disabled", RIGHT),
        ("disabled", WRONG),
        ("passwordless", WRONG),
        ("never-set", WRONG),
        ("KNOWN", RIGHT),
    ],
)
def test_costs_and_says_the_same_as_a_wrong_password_of_somebody_known(username: str, password: str) -> None:
    status, queries, rounds, page = try_password("known", WRONG)

    assert rounds == [CountingHasher.iterations]
    assert try_password(username, password) == (status, queries, rounds, page)


def test_locked_out_nobody_s_password_is_hashed(settings: Any) -> None:
    settings.LOCKOUT_TRIES = 1
    outcomes = []
    for username in ("known", "nobody-of-this-name"):
        try_password(username, WRONG)
        outcomes.append(try_password(username, RIGHT))

    (status, queries, rounds, page), unknown = outcomes
    assert (status, rounds) == (429, [])
    assert (unknown[0], unknown[1], unknown[2]) == (status, queries, rounds)
    assert re.sub(r"\d+", "", unknown[3]) == re.sub(r"\d+", "", page)


def test_the_hasher_counts(db: None) -> None:
    """Prove that the test above can fail."""
    browser = visitor(DESKTOP)
    CountingHasher.rounds.clear()

    browser.client.post("/login/?stay=1", {"username": "known", "password": RIGHT})

    assert browser.user_id == User.objects.get(username="known").pk
    assert CountingHasher.rounds == [CountingHasher.iterations]
