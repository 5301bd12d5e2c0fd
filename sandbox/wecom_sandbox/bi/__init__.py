"""A small stand-in for the BI, below /guandata: sign-in by token, pages, cards, and the public API.

It implements Guandata's contract (docs/en/bi-sign-on.md) independently of `integrations.clients.guandata`.
"""
