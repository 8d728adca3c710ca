"""Methods that are trained without labels, one small file each; they need torch."""
