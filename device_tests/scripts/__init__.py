"""What is sent to the device and run there: needs the runtime alone. Each prints a line of JSON."""
