"""What is done to a torch module: read or replaced inside for a pass, or changed by a surgery for good."""
