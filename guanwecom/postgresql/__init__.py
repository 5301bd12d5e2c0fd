"""Django's backend for PostgreSQL, which looks at a connection where Django asks the server."""
