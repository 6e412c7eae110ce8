"""A light node: it keeps what concerns its member, and proof that nothing of it is missing."""
