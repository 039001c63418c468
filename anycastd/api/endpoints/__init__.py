"""What is asked and ordered: one file a subject."""
