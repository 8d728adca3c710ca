"""System facilities: CPU, device, memory, logging, timers."""
