"""How long a test waits for what has to come: far longer than a busy machine takes, and no longer than it takes."""

PATIENCE_S = 120.0
