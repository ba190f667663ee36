"""Active learning: which samples to ask about."""
