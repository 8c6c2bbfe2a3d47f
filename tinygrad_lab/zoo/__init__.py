"""The zoo: networks of the convolutional era, one file a paper."""
