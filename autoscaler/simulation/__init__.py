"""Traces of load replayed through controllers: ours, and others to compare with."""
