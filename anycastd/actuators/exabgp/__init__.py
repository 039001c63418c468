"""ExaBGP 5.0.x, supervised: launched or adopted, fed, watched, replaced when it hangs, stopped cleanly."""
