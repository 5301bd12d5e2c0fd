"""The diagnosis of a company: what is wrong, who can fix it, and where.

`app`, `console` and `network` hold the checks; `findings` defines questions and findings; `runner` requests and
executes runs; `results` reads them: on pages, before enabling, and as text for support.
"""
