"""Replay: a log once more through the same step, from files or from Kafka, without a worker and without a store."""
