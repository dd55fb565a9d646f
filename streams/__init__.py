"""The steps between the wire and the core: every edge of Headwater."""
