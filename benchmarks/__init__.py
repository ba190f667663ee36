"""How fast it is, measured side by side: `python -m benchmarks [step] [camera] [cli] [ppo]`, one file per subject."""
