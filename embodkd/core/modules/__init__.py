"""What is done to a torch module: read or replaced inside for the length of a pass, or changed by a surgery for good."""
