"""Failure of a test that logs a secret, and of a program whose log holds one."""

import logging
import secrets
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from integrations.models import Corp
from tests.log_secrets import WATCH, LogWatch, check_program

SECRET = "invented-for-this-Test-7"


@pytest.mark.django_db
def test_secrets_of_every_kind_are_known() -> None:
    Corp.objects.create(name="a", corpid="ww" + "1" * 16, agentid=7, secret=SECRET)
    get_user_model().objects.create_user("jim", password="Pass-word-of-jim-1")
    logger = logging.getLogger("integrations.x")

    logger.debug("secret %s", SECRET)
    logger.info("password %s", "Pass-word-of-jim-1")
    # One token of 1,500 has no digit.
    logger.warning("token %s", secrets.token_urlsafe(32)[1:] + "7")
    logger.error("corp %s", "ww" + "1" * 16)

    found = WATCH.take()
    assert [line.count("***") for line in found] == [1, 1, 1]
    assert [word for word in ("secret ***", "password ***", "token ***") if word not in "".join(found)] == []


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("abcdefghij12", "x=abcdefghij12&y"),
        ('with"Quote-1234', r'{"event": "with\"Quote-1234"}'),
        ("with/Slash-1234", "https://a.example/?q=with%2FSlash-1234"),
        ("postgresql://u:a%2Fb-password-1@db/x", "password a/b-password-1 is wrong"),
        ("https://a.example/hook?key=0123-4567-89ab-cdef", "key 0123-4567-89ab-cdef"),
        ('{"Authorization": "Token0123456789"}', "sent Token0123456789"),
        ("only-lower-case-words-but-long", "only-lower-case-words-but-long"),
    ],
)
def test_a_known_value_is_found(value: str, line: str) -> None:
    watch = LogWatch()
    watch.remember(value)
    watch.note("nothing here")
    watch.note(line)

    [found] = watch.take()
    assert "***" in found
    assert watch.take() == []


def test_a_programs_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("started\n")
    check_program("web", log)
    log.write_text(f"started\ntoken {secrets.token_urlsafe(64)}7 is bad\n")

    with pytest.raises(pytest.fail.Exception, match=r"a secret stands in the log of web: token \*\*\* is bad"):
        check_program("web", log)
