"""The parts of scripts/setup.py. They use the standard library only."""
