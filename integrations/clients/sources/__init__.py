"""Readers of data sources: a Guandata card, an SQL query, JSON over HTTP. Each returns a Table."""
