"""The diagnosis of a corp: what stands in its way, who can remove it, and where.

`checks/` has a module for each check, `registry` their order. `running` asks for runs and carries them out, `results`
reads them, `readiness` says what stands against enabling, `export` writes them as text.
"""
