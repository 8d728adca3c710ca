"""The machine underneath: CPU, device, memory, logs, timers."""
