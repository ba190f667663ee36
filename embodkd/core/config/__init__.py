"""Configs are data: names of members, and constructors as schemas."""
