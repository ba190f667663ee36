"""Speech: sentences that a voice says, with the durations that it gave to each phoneme."""
