"""Formats of dates and times by language (settings.FORMAT_MODULE_PATH)."""
