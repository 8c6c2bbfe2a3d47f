"""Layers: variables, the base class, sequences, calls with other parameters, random numbers, initial values."""
