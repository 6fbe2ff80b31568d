"""Docker Compose and Docker Swarm. The only importers of docker."""
