"""People's attributes in sheets (xlsx, csv): reading what administrators upload, and writing what they download.

`reading` finds the header and yields lines; `deciding` says what each line means for whom; `running` does both in the
background, first as a dry run and then, once somebody has said yes, in earnest; `asking` is what administrators ask of
it. `writing` makes the sheets, `exporting` those of many people in the background.
"""
