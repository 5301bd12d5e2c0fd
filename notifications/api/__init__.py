"""The HTTP API for other systems, one module for each resource (docs/en/api.md)."""
