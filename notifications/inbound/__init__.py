"""What other systems send: channels and their mappings, and the messages that come of it."""
