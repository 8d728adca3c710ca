"""An ARM CPU under QEMU, and the counters that estimate its cycles."""
