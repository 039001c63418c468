"""What a configuration file may hold: one file a section; every field says in its description what it does."""
