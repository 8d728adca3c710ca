"""What is compiled for: the device description, its vector unit, the C toolchain."""
