"""The people's side: vault, documents, disclosures, lots and the HTTP client; no server."""
