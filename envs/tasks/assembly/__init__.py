"""ResiP's assembly tasks (arXiv:2407.16677): loose parts, an absolute pose as action, one reward per joined pair."""
