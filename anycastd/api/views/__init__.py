"""Pure functions from `Status` to the JSON that the API answers."""
