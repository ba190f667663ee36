"""Parts that few methods need, built from the core's words: methods import them, the core does not know them."""
