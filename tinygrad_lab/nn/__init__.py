"""Neural-network layers: base class, variables, Sequential, functional call, random numbers, initializers."""
