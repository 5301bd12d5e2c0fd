"""Client of the BI platform Guandata (观远): single sign-on and the public API. Plain Python.

What is known of its contract, and how surely, stands in docs/en/bi-sign-on.md.
"""
