"""Grasps by a hand of many fingers: where they may be, how good they are, what they are paid (arXiv 2303.00938)."""
