"""How people's hands move: recordings that ship with the project, each with its licence beside it."""
