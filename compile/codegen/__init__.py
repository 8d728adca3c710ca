"""From the intermediate representation to a shared library."""
