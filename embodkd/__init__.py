"""embodkd: teachers that know too much make students that may know only what they will have when deployed."""

__version__ = "0.1.0"
