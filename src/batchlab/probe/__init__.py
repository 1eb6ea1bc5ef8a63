"""Short measurements on the user's own model, data and machine."""
