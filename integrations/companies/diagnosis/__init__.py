"""The diagnosis of a company: what is wrong, who can fix it, and where.

`checks/` holds the checks by theme, and their order. `findings` says what a check is asked and finds, `runner` requests
runs and carries them out, `results` reads them: on pages, against enabling, as text for support.
"""
