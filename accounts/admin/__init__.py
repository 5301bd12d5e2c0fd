"""The administration of people, attributes, the directory and the audit trail.

Django imports this package when it starts; each module registers its pages.
"""

from accounts.admin import directory, groups, imports, linking, security, users

__all__ = ["directory", "groups", "imports", "linking", "security", "users"]
