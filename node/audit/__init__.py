"""For auditors: export a chain, verify it from genesis without trusting who made the export."""
