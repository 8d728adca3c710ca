"""The hand-made systems of Table 3 and the bytes of a query (survey, section 1.2)."""
