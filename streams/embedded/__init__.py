"""Real services for a machine that has none: an Apache Kafka broker and a Redis server, started as child
processes."""
