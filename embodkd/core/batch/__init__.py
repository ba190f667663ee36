"""A batch that no process or piece holds alone: shared out, and whole again where items are compared."""
