"""Run folders and files: what lies on disk, whole or not at all, and what is shown while it is made."""
