"""Cases: how the inputs and options of a layer are drawn."""
