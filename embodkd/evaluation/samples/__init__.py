"""What models made of a few things, for people: drawn by one file per kind of model, kept beside its evaluation."""
