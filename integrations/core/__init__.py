"""What all apps use: clients, hooks, locks, HTTP, checks."""
