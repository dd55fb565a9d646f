"""The console role: what is running and how it does, for people (a page) and for machines (federated metrics)."""
