"""What is run on the device itself: over ssh on a board, or on an emulated one."""
