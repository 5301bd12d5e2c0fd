"""Work in the background: each piece is a row of `Job`, and one runner does all of them (docs/decisions/0037)."""
