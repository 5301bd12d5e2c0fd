"""What is sent: what WeCom refuses or cuts, who gets it, and what became of it on each phone."""
