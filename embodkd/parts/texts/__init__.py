"""What is done with texts that a model writes."""
