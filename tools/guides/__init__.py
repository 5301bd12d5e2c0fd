"""Build the guides of both languages as a site: `python -m tools.guides` (docs/conf.py configures Sphinx)."""
