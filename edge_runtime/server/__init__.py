"""The lookup over HTTP: one large set of codes, asked by boards and by commands."""
