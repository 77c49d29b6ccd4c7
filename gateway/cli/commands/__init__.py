"""What can be typed: a module for each command, or group of them, with its options and the text of its ``--help``."""
