"""Images changed: mixed, restyled, moved, attacked, encoded."""
