"""The pure core: no I/O, no clock; everything it needs is an argument."""
