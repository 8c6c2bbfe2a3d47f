"""Cases: strategies that draw the inputs and options of a layer."""
