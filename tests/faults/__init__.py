"""Faults of real parts. After each fault, services have the replicas that their labels call for."""
