"""Hydra configs; the YAML files beside this one are found as `pkg://embodkd.configs`."""
