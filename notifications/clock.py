"""The database's clock, by which the push engine counts."""

from integrations.core.clock import Clock, database_clock

__all__ = ["Clock", "database_clock"]
