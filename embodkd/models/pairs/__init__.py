"""Models that tell which two things belong together, one file each."""
