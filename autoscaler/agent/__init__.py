"""The agent on a node of a Swarm: it answers the daemon for the node's own engine."""
