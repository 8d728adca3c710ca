"""The keys of a fleet, and the root that names them."""
