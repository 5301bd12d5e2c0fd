"""The diagnosis of a company: what is wrong, who can fix it, and where.

`app`, `console` and `network` look; `findings` defines questions and findings; `checks` requests and executes the
checks, and reads what they found: on pages, before enabling, and as text for support.
"""
