"""WeCom's server API: one module by subject, each registering its calls; `pipeline.answer` is the way in."""

from importlib import import_module

SUBJECTS = (
    "token",
    "oauth",
    "agent",
    "menu",
    "contacts",
    "organisation",
    "account",
    "tag",
    "batch",
    "message",
    "card",
    "appchat",
    "robot",
    "media",
    "jssdk",
)


def load_endpoints() -> None:
    """Import the modules of all subjects: importing one registers its calls."""
    for subject in SUBJECTS:
        import_module(f"wecom_sandbox.api.{subject}")
