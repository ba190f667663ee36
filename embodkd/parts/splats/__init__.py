"""Scenes of 3-D Gaussians: how they are drawn, how anchors and a decoder make them, how anchors come and go."""
