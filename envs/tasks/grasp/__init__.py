"""Grasping what was never seen: every copy holds another object, and a floating hand brings it to a target."""
