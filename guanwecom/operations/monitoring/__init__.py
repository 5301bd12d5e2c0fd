"""What monitors and the overview are told beside the engine's health: what waits, what is used up, what expires."""
