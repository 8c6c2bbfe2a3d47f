"""Networks, most of them of the convolutional era, one file per paper.

Each is a function of keyword-only options that returns a layer: ``vgg16(classes=10, rng=0)``. Its option `image` is the
(height, width, channels) of its input, from which the sizes of its dense layers follow. The default is the source's,
and `tinygrad-lab summary` uses it. Every network that is registered as an entry point of ``tinygrad_lab.models`` has
this option or, if its input is a sequence, the option `length`.
"""
