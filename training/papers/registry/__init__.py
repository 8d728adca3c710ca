"""Every system that the two papers name, where it runs here, or why it does not."""
