"""Companies: settings, credentials, values in WeCom's console, links, diagnosis."""
