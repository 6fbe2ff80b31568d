"""What the project exists for, without I/O: labels, decisions, reports. No clock, no randomness."""
