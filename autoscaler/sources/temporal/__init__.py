"""What Temporal says of task queues, builds and workers."""
