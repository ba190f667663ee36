"""The batched simulator on MuJoCo: stepping, cameras, robots, randomisation.  It knows no task."""
