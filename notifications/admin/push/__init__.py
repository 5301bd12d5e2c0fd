"""The page of a push: one form for a subscription and the report that it sends."""
