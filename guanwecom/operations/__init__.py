"""What runs a deployment: how processes start, and what they write into their logs."""
