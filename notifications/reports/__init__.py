"""Reports: templates over tables, rows filtered per person, rules for skipping a run."""
