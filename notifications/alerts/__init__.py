"""Alerts: from other systems or from rules on data; sent to people, who act on them in the message."""
