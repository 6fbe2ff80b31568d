"""What is wanted of each service, and who says so."""
