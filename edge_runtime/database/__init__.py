"""What the SQLite files of the daemon share: trust, transactions, files that may be lost."""
