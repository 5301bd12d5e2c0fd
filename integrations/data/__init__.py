"""The single place for data: tables with typed columns, the reading of values, and figures. Pure Python."""
