"""What boards are, how fast things are on them, and the measurements that say so."""
