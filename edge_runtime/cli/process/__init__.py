"""What concerns the process of a command: its streams, and its start after a lost file."""
