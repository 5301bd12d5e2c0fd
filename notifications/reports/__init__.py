"""What a report says: its templates over the tables of its cards, whose rows each person sees, when it is skipped."""
