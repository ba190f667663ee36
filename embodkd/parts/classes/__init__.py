"""Classes divided into subclasses, and the directions of an embedding that tell them apart."""
