"""The one meaning of data: tables with typed columns, how values are read, and what figures come to. Pure Python."""
