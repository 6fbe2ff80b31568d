"""The real parts that tests talk to: Temporal, Compose, Swarm, the daemon as a process."""
