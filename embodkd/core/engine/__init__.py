"""The engine: one training loop, one update of it, and what a checkpoint holds."""
