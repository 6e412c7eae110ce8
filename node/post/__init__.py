"""Post between members: sealed envelopes that nodes keep, hand over, and forget."""
