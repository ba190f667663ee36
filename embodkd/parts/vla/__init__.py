"""A robot that is told what to do and may say why: what DualVLA (arXiv 2511.22134) prunes, distils and scores."""
