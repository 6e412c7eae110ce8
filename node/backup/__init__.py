"""What keeps the record of a node elsewhere: make a backup, prove it, and restore it."""
