"""Docker Compose: services are sets of containers, and replicas are made as Compose makes them."""
