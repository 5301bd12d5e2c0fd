"""Charts: turn a Table and a definition into a Vega-Lite spec, for the pushed PNG and the page's SVG."""
