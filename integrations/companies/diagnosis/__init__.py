"""The diagnosis of a company: what is wrong, who can fix it, and where.

`checks/` has a module for each check, `registry` their order. `runner` requests runs and carries them out, `results`
reads them, `readiness` finds what blocks enabling, `export` writes them as text.
"""
