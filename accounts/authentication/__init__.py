"""How people sign in, and what their sessions carry."""
