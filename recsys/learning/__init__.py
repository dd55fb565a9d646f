"""Learning: what turns behaviour into weights. Pure: choices in, weights out; whoever reads the log drives it."""
