"""A Swarm of several nodes."""
