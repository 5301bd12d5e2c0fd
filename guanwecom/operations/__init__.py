"""What runs a deployment: how processes start and what they log, their heartbeats, and who is told of a standstill."""
