"""The autoscaler's replicas under real versions of Docker Compose, on several engines."""
