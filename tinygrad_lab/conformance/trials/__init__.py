"""Trials: layers and arrays built from cases, oracles for their derivatives, and the search for a failing case."""
