"""The learner's lanes and the encoder: roles of which one process is active and others stand by."""
