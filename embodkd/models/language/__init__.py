"""Models that read texts: language models, and a classifier of texts."""
