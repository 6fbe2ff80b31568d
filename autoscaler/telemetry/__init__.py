"""Observers of a TickReport."""
