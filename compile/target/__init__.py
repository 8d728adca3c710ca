"""The target of a compile: the device description, its vector unit, and the C toolchain."""
