"""Docker Swarm: services on the manager, scaled by their number of replicas."""
