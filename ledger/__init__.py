"""The record: what is kept, how it is encoded, hashed, signed and proved."""
