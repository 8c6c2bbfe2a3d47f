"""The zoo: networks of the convolutional era, one file a paper.

Each is a function of keyword-only options that returns a layer: ``vgg16(classes=10, rng=0)``. Its option `image` is
the (height, width, channels) of what it is given, so that the sizes of its dense layers follow, and its default is the
paper's: from there `tinygrad-lab summary` knows what to begin with. Any network that is registered as an entry point of
``tinygrad_lab.models`` does the same.
"""
