"""Where a report's data comes from: a Guandata card, an SQL query, JSON over HTTP. Each returns one Table."""
