"""Import and export of people as xlsx and csv.

`readers` finds the header and yields rows; `planner` decides what each row would change; `apply` writes it. `jobs` runs
both in the background: first a check, then, once confirmed, the changes. `writers` makes sheets, `export_jobs` the
large ones in the background.
"""
