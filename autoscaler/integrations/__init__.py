"""Named Temporal connections, and where they come from."""
