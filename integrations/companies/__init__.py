"""Companies: settings, console values, callbacks, credentials, diagnosis."""
