"""Kafka at our own edges: clients made in one place, topics made and checked from the one table."""
