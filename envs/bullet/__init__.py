"""The same tasks on PyBullet, the second engine."""
