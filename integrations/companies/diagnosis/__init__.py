"""The diagnosis of a company: what is wrong, who can fix it, and where.

`app`, `console` and `network` contain the checks; `findings` defines their questions and findings; `checks` requests
and executes them, and uses their findings: on pages, before enabling, and in the text for support.
"""
