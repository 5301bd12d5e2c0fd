"""Invented companies, people and subscriptions to try the product with. Never in production."""
