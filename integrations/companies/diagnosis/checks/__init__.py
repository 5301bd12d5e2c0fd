"""One module for each check of the diagnosis."""
