"""Shared parts of all apps: clients, hooks, locks, HTTP, checks."""
