"""What the control loop is made of: what it believes, what is due, and both sides that it drives."""
