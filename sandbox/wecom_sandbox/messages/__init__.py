"""Messages: their checks, recipients and state on each phone."""
