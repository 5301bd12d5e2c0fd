"""A small stand-in for the BI, below /guandata: sign-in by token, pages, cards, and the public API.

A second reading of Guandata's contract (docs/en/bi-sign-on.md): it imports nothing of `integrations.clients.guandata`.
"""
