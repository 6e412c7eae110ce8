"""Why there is no block: facts collected, findings drawn from them, and words for people."""
