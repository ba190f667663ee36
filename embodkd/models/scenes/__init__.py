"""Models of scenes: what a camera sees from where it is."""
