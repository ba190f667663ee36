"""Models that see data with noise and say what is noise and what is data: teachers and generators of one kind."""
