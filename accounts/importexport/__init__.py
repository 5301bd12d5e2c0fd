"""Import and export of people as xlsx and csv.

`readers` finds the header and yields rows; `planner` decides what each row would change and writes it; `writers` makes
sheets. `jobs` runs imports (first a check, then, once confirmed, the changes) and large exports in the background.
"""
