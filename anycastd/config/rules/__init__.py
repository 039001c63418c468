"""What only the whole file shows: one file a subject, each function takes the draft and notes what it finds."""
