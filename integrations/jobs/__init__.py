"""Background jobs: each is a row of `Job`, and one runner executes all kinds (docs/decisions/0037)."""
