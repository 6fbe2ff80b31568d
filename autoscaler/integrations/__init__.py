"""Where the named Temporal connections come from."""
