"""Settings of how strict and slow the sandbox is, changeable while it runs (PATCH /sandbox/api/settings)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

# Upper limit of numeric settings.
_MOST = 1_000_000_000


@dataclass(slots=True)
class Settings:
    """The settings. Their defaults are the values that WeCom publishes; where it publishes none, strict ones."""

    # Whether frequency limits are applied; load tests switch them off.
    limits_enabled: bool = True
    company_per_minute: int = 10_000
    company_per_hour: int = 150_000
    ip_per_minute: int = 20_000
    ip_per_hour: int = 600_000
    parallel_calls: int = 300
    member_per_minute: int = 30
    member_per_hour: int = 1000
    # Messages of an app per day for each account of the company; a message counts once for every recipient.
    daily_messages_per_account: int = 200
    wrong_secrets_per_hour: int = 2000
    # Messages of a company to app groups, each counted once for every member. WeCom's hourly limit depends on the
    # company; this is the lowest.
    group_per_minute: int = 20_000
    group_per_hour: int = 150_000
    # Calls with debug=1 in their query, per company.
    debug_per_minute: int = 5
    robot_per_minute: int = 20
    company_tickets_per_hour: int = 400
    app_tickets_per_hour: int = 100
    # Lifetimes.
    token_seconds: int = 7200
    code_seconds: int = 300
    user_ticket_seconds: int = 1800
    response_code_seconds: int = 72 * 3600
    recall_seconds: int = 24 * 3600
    media_seconds: int = 3 * 24 * 3600
    consent_seconds: int = 30 * 24 * 3600
    # A repeated gettoken gives a new token (the old one stays valid) instead of the same one.
    rotate_tokens: bool = False
    # expires_in of a repeated gettoken is the remaining time instead of the whole lifetime.
    expires_in_counts_down: bool = True
    # user/list and user/simplelist honour fetch_child (WeCom's documentation of 2024 no longer mentions it).
    fetch_child_honoured: bool = False
    # change_contact carries UserID and Department (Id and ParentId) only, as for callbacks set up after 2022-08-15.
    contact_events_minimal: bool = True
    # change_contact goes to self-built apps as well as to the directory-sync assistant.
    apps_get_contact_events: bool = False
    # An app without a list of trusted IPs is refused (60020), as WeCom refuses every address that is not listed.
    trusted_ips_required: bool = False
    # Time until a trusted IP added in the console takes effect. One set by the control interface does at once.
    trusted_ip_delay_seconds: int = 60
    # If not empty, calls count as coming from this address instead of the real one (127.0.0.1).
    caller_ip: str = ""
    # Number of newest calls that GET /sandbox/api/calls lists.
    calls_kept: int = 20_000
    # Number of newest messages of each company that stay on phones and in lists.
    messages_kept: int = 200_000
    # Every call of the API waits this long before it is answered.
    latency_seconds: float = 0.0
    callback_timeout_seconds: float = 5.0
    callback_attempts: int = 3
    callback_pause_seconds: float = 1.0

    def change(self, values: object) -> None:
        """Change settings, all or none. Raise ValueError for an unknown name, a wrong type or an impossible number."""
        if not isinstance(values, Mapping):
            raise ValueError("settings must be an object")
        types = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        for name, value in values.items():
            expected = types.get(name)
            if expected is None:
                raise ValueError(f"unknown setting {name}")
            numeric = expected is float and isinstance(value, int) and not isinstance(value, bool)
            if not numeric and type(value) is not expected:
                raise ValueError(f"setting {name} must be of type {expected.__name__}")
            if isinstance(value, int | float) and not 0 <= value <= _MOST:
                raise ValueError(f"setting {name} must be between 0 and {_MOST}")
        for name, value in values.items():
            setattr(self, name, float(value) if types[name] is float and isinstance(value, int) else value)

    def as_json(self) -> dict[str, object]:
        return asdict(self)
