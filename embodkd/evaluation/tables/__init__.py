"""What stored tables rest on: marks of cells, the sources that a cell reaches, rows in a file, work in order."""
