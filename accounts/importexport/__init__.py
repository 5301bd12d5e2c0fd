"""Import and export of people as xlsx and csv.

`sheets` finds the header and yields rows, and makes sheets; `planner` decides what each row would change and writes it.
`jobs` runs imports (first a check, then, once confirmed, the changes) and large exports in the background.
"""
