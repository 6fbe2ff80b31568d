"""Stand-ins for the outside world, written by hand to the Protocols of autoscaler.ports."""
