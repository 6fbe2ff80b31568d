"""Scales Docker Compose and Swarm services by the backlog of their Temporal task queues."""
