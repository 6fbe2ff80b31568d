"""How Temporal is reached: clients, credentials, and what a failed call means."""
