"""Scripts that run on the device with nothing but the runtime. Each prints one line of JSON."""
