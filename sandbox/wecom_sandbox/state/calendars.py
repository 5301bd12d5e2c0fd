"""Calendars and the events in them (日历, 日程), which apps keep for members."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


@dataclass(slots=True)
class Calendar:
    """`agentid`: the app that made it; no other may see or change it. `shares`: userid and readonly of each."""

    agentid: int
    organizer: str
    summary: str = ""
    color: str = ""
    description: str = ""
    readonly: int = 0
    shares: list[dict[str, object]] = field(default_factory=list)
    is_deleted: bool = False
    id: str = field(default_factory=lambda: f"wc{secrets.token_hex(15)}")


@dataclass(slots=True)
class Schedule:
    """Times in unix seconds. `cal_id` "": the organizer's own calendar."""

    agentid: int
    organizer: str
    start_time: int = 0
    end_time: int = 0
    summary: str = ""
    description: str = ""
    location: str = ""
    cal_id: str = ""
    attendees: list[str] = field(default_factory=list)
    reminders: dict[str, object] = field(default_factory=dict)
    is_deleted: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(16))
