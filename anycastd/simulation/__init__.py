"""Virtual time, and a world to run the whole daemon in."""
