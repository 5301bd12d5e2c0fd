"""Charts: from a Table and a few words about it to one Vega-Lite spec, for the pushed PNG and the page's SVG."""
