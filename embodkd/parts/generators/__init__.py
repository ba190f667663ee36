"""One-step generators of denoisers: what they are moved by, and how near their samples are to data."""
