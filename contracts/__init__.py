"""The rules: what a transaction may change. Pure: no clock, chance, file, socket or log."""
