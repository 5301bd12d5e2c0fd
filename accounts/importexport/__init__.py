"""Import and export of people as xlsx and csv.

`sheets` reads and writes files; `planner` decides what each row changes, and writes the changes; `jobs` runs imports
(first a check, then, once confirmed, the changes) and large exports in the background.
"""
