"""The command line: one binary, noun then verb."""
