"""The demonstration: a catalogue, simulated shoppers, and a live table over the real services."""
