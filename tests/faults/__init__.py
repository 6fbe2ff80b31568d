"""Faults on real parts: after each, the replicas are where the labels say."""
