"""What is done to a torch module for the length of a pass: read inside, replaced inside, switched between modes."""
