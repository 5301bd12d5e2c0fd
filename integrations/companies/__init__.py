"""What may be done with a company."""
