"""What people and tools see of the running daemon: status page, JSON, /metrics, health."""
