"""Views of scenes: a small ray caster, furnished rooms that it shows, and cameras that walk through them."""
