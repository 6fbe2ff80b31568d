"""The real parts that tests use: Temporal, Compose, Swarm, and the daemon as a process."""
