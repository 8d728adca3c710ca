"""A board in a fleet: signed versions of one gallery, followed by every board."""
