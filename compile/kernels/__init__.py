"""The kernels, as TVM computations with schedules of our own."""
