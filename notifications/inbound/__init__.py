"""Messages from other systems: channels, their mappings, and the messages made of what comes in."""
