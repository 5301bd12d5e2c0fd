"""The version in pyproject.toml; a build adds its commit, as in 1.0.0+g0b858e2."""

from pathlib import Path

# Written by builds: tools/bundle.py, deploy/install.sh, the Dockerfile.
_COMMIT = Path(__file__).with_name("COMMIT")
_BUILD_COMMIT = _COMMIT.read_text(encoding="ascii").strip() if _COMMIT.exists() else ""
VERSION = "1.1.0" + (f"+g{_BUILD_COMMIT}" if _BUILD_COMMIT else "")
