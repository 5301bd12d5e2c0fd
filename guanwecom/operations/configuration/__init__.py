"""The configuration as one YAML file without secrets: exported, compared, imported."""
