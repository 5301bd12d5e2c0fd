"""WeCom's server API: one module by subject, each registering its calls; `call.answer` is the way in."""

from importlib import import_module

SUBJECTS = ("token", "agent", "contacts", "message", "appchat", "media")


def load_endpoints() -> None:
    """Import the modules of all subjects: importing one registers its calls."""
    for subject in SUBJECTS:
        import_module(f"wecom_sandbox.api.{subject}")
