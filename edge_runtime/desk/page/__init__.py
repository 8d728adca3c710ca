"""The page of the fleet, its API and its metrics."""
