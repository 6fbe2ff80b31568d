"""Traces of load, replayed through our own controller and through others for comparison."""
