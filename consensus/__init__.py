"""Agreement: a pure machine that decides one block per height (docs/protocol.md)."""
