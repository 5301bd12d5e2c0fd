"""Operation of a deployment: checks at the start, logs, heartbeats, health, backups, upgrades, alarms to operators."""
