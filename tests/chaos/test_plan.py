"""The plan of a seed: it is repeatable, contains everything sooner or later, and stays within its bounds."""

from hypothesis import given
from hypothesis import strategies as st
from wecom_sandbox.limits.limits import FAULT_KINDS, Fault

from tests.chaos.plan import DISTURBANCES, PROGRAMS, SPAN_SECONDS, plan

ROUNDS = 300
ALL = [each for number in range(ROUNDS) for each in plan(1, number)]


@given(seed=st.integers(0, 10**6), number=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_round(seed: int, number: int) -> None:
    first = plan(seed, number)

    assert first == plan(seed, number) != plan(seed + 1, number)
    assert len(first) <= DISTURBANCES[1]
    assert first == sorted(first, key=lambda each: each.at)
    assert all(0 <= each.at <= SPAN_SECONDS for each in first)


def test_enough_rounds_kill_everything_and_meet_every_fault() -> None:
    killed = {each.target for each in ALL if each.kind == "kill"}
    met = {each.fault["kind"] for each in ALL if each.kind == "fault"}

    assert killed == {*PROGRAMS, "database", "broker", "sandbox", "pooler"}
    assert {each.target for each in ALL if each.kind == "restart"} == {"database", "broker"}
    assert met == set(FAULT_KINDS) - {"duplicate_callback"}
    assert all(Fault.from_json(each.fault).kind == each.fault["kind"] for each in ALL if each.kind == "fault")
    assert {each.kind for each in ALL} >= {
        *("jump", "freeze", "stop", "disable", "disable_member", "reset_secret", "recall", "resend"),
        *("old_snapshot", "flush", "full", "read_only", "crowd", "cut", "leave", "edit"),
        *("step", "sleep", "promote"),
    }
    assert {each.target for each in ALL if each.kind == "freeze"} == {
        *(*PROGRAMS, "sandbox", "broker", "database", "network", "pooler"),
    }
    assert {each.target for each in ALL if each.kind == "step"} == {*PROGRAMS, "broker"}
    assert {each.target for each in ALL if each.kind == "full"} == {"database", "broker"}
    assert min(each.seconds for each in ALL if each.kind == "jump") < 0


def test_the_database_s_clock_does_not_jump_where_valkey_is_filled_anew() -> None:
    """Guard what the guide excludes: calls would look older than they are."""
    for number in range(ROUNDS):
        found = plan(1, number)
        is_filled = any(each.target == "broker" and each.kind not in {"freeze", "full"} for each in found)
        assert not (is_filled and any(each.kind == "jump" for each in found))
