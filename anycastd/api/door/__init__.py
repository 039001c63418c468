"""Who is let in, where the API listens, and what is said to whom is turned away."""
