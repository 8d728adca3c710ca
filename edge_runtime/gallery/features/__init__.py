"""Features of the enrolled codes: stored with them, searched beside them, fitted to them."""
