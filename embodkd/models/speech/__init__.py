"""Models that speak: spectra of phonemes."""
