"""The bytes of a query against the accuracy of its answer, for each way to send one."""
