"""Developers' commands: set-up, demo, tests, checks, translations. The product imports nothing from here."""
