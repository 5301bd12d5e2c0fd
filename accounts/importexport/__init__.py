"""Import and export of people as xlsx and csv.

`sheets` reads files and makes sheets; `planner` decides what each row changes, and writes it; `jobs` runs imports
(first a check, then, once confirmed, the changes) and large exports in the background.
"""
