"""What crosses the wire: records, topics, and how bytes become records."""
