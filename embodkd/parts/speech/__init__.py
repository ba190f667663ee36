"""What models and methods of speech are made of."""
