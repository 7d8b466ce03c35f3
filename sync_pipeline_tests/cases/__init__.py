"""Databases as people really have them, each through the command line."""
