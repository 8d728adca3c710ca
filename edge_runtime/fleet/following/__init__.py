"""The signed files of a fleet, as a board fetches and checks them."""
