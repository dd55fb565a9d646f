"""The worker: events in, recommendations out. Batches of a partition from Kafka, through the pure step, to Kafka."""
