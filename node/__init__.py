"""The outside world: everything that reads a clock, a file, a socket or a person."""
