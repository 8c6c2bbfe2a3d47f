"""Trials: one case made real, the oracles that judge it, and the search for a case that fails."""
