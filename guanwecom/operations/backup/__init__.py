"""Backups of the database: one file with a dump and a manifest, and its restoration."""
