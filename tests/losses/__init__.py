"""Counts the tasks that scale-ins lose: services at work, on a real engine and a real Temporal."""
