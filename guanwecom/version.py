"""The version, as in pyproject.toml."""

VERSION = "0.9.0"
