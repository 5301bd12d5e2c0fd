"""Alerts: taken in from other systems or found in data, told to people, and acted on in the message."""
