"""Upgrades: what pending migrations do to the tables, and what stands in their way."""
