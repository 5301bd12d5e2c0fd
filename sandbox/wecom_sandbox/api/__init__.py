"""WeCom's server API: one module per subject, which registers its calls. `call.answer` is the entry point."""

from importlib import import_module

SUBJECTS = ("token", "agent", "contacts", "message", "appchat", "media")


def load_endpoints() -> None:
    """Import the modules of all subjects, which registers their calls."""
    for subject in SUBJECTS:
        import_module(f"wecom_sandbox.api.{subject}")
