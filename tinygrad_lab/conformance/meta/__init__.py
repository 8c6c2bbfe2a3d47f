"""Checks of the check: whether cases reach everything, and layers rebuilt in a fresh process."""
