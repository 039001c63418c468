"""This POP's part in the fleet: what it says and hears, by beacon and by the store, and whom it asks to leave."""
