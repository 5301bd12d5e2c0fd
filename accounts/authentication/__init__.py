"""Sign-in and the contents of sessions."""
