"""The inbox: recurring things that are not enrolled, as groups of small pictures to be named."""
