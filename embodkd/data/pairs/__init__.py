"""Images with texts, one file per source: `make_data("emoji_names", seed=0)` gives `Pairs`."""
