from __future__ import annotations

import logging

import pytest

from integrations.core.background import guarded

logger = logging.getLogger("tests.guard")


def test_one_that_fails_is_logged_and_the_others_are_done(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    for number in (2, 0, 1):
        with guarded(logger, "number=%d failed", number):
            done.append(1 / number)

    assert done == [0.5, 1.0]
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("tests.guard", "number=0 failed")]
    assert "ZeroDivisionError" in caplog.text


def test_what_it_raised_is_known_afterwards() -> None:
    mistake = ValueError("no")

    with guarded(logger, "failed") as failing:
        _fail(mistake)
    with guarded(logger, "failed") as passing:
        pass

    assert (failing.error, passing.error) == (mistake, None)


def test_an_error_that_the_caller_expects_is_passed_on_unlogged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LookupError), guarded(logger, "failed", unless=(LookupError,)):
        _fail(LookupError())

    assert caplog.records == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_no_error(end: type[BaseException]) -> None:
    with pytest.raises(end), guarded(logger, "failed"):
        _fail(end())


def _fail(error: BaseException) -> None:
    raise error
