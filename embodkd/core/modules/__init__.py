"""What is done to a torch module: read and replaced inside for the length of a pass, and changed by surgeries for good."""
