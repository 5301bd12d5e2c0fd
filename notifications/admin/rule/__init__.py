"""The page of an alert rule: one form for the rule and the people whom it notifies."""
