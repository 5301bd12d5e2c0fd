"""What a message carries beside its words: pictures and files, made apart, uploaded for each delivery, or linked."""
