"""Banks: what one pass of a model over the data leaves behind. They answer like a role, so terms cannot tell."""
