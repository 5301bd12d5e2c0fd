"""Faults on request: by endpoint, for a number of calls, for all companies or one."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

from wecom_sandbox.http import typed

# kind: what it does, in the order of docs/en/sandbox.md
KINDS: dict[str, str] = {
    "busy": "errcode -1, nothing done",
    "errcode": "the error of `code`, nothing done",
    "token_revoked": "the caller's token becomes unknown (40014, or 42001 with `code`), nothing done",
    "rate_limited": "errcode 45009, nothing done",
    "concurrent": "errcode 45033, nothing done",
    "ip_refused": "errcode 60020, nothing done",
    "http_500": "HTTP 500 with a page",
    "html": "HTTP 200 with a page instead of JSON",
    "broken_json": "HTTP 200, the JSON ends in the middle",
    "wrong_json_warning": "done, with WeCom's warning in errmsg",
    "hang": "no answer until the caller gives up, at most `seconds` (default 600)",
    "slow": "done, answered after `seconds` (default 5)",
    "drip": "done, answered byte by byte, one each `seconds` (default 1)",
    "close_before": "connection closed, nothing done",
    "close_after": "done, then the connection is closed without an answer",
    "duplicate_callback": "an event is delivered twice (endpoint: callback)",
}
# These may come before or after the call was carried out: `processed` says which.
_EITHER = frozenset({"http_500", "html", "broken_json", "hang"})
_ERRCODES = {"busy": -1, "rate_limited": 45009, "concurrent": 45033, "ip_refused": 60020}
_SECONDS_MOST = 86_400
# What a fault is made of from outside: its id is ours.
GIVEN = frozenset({"kind", "endpoint", "count", "corpid", "agentid", "code", "seconds", "processed"})
_serial = itertools.count(1)


@dataclass(slots=True)
class Fault:
    """`count` None: until removed. `endpoint`: a path under /cgi-bin/ without it, "*" for all, or "callback"."""

    kind: str
    endpoint: str = "*"
    count: int | None = 1
    corpid: str = ""
    agentid: int | None = None
    code: int = 0
    seconds: float | None = None
    processed: bool = False
    id: int = 0

    @classmethod
    def from_json(cls, values: object) -> Fault:
        """Raises ValueError."""
        fault = typed.build(cls, values, path="fault", allowed=GIVEN)
        if fault.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if fault.count is not None and fault.count < 1:
            raise ValueError("count must be a positive number, or null for no end")
        if fault.seconds is not None and not 0 <= fault.seconds <= _SECONDS_MOST:
            raise ValueError(f"seconds must be between 0 and {_SECONDS_MOST}")
        if fault.kind == "errcode" and not fault.code:
            raise ValueError("errcode needs code")
        fault.endpoint = fault.endpoint.removeprefix("/").removeprefix("cgi-bin/")
        fault.id = next(_serial)
        return fault

    @property
    def errcode(self) -> int | None:
        """The error that is answered instead of the call being carried out, if it is one."""
        return self.code if self.kind == "errcode" else _ERRCODES.get(self.kind)

    @property
    def carries_out(self) -> bool:
        """Whether the call is done although its answer is spoilt."""
        return self.processed if self.kind in _EITHER else self.kind in {"slow", "drip", "close_after"}

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class FaultBoard:
    """The faults that are switched on. The oldest that fits a call is claimed, and used up by one."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.active.append(fault)

    def clear(self, number: int | None = None) -> int:
        """Remove one by id, or all. Returns how many went."""
        before = len(self.active)
        self.active = [fault for fault in self.active if number is not None and fault.id != number]
        return before - len(self.active)

    def claim(self, endpoint: str, *, corpid: str = "", agentid: int | None = None) -> Fault | None:
        """`endpoint` without /cgi-bin/. None when nothing fits."""
        for fault in self.active:
            fits = fault.endpoint == endpoint or (fault.endpoint == "*" and endpoint != "callback")
            if fits and fault.corpid in {"", corpid} and fault.agentid in {None, agentid}:
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count == 0:
                        self.active.remove(fault)
                return fault
        return None
