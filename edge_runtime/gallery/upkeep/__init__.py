"""What becomes of gallery files: their owners and modes, and the repair of corrupt ones."""
