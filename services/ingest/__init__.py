"""HTTP in, Kafka out: authenticate, validate, batch, produce, acknowledge."""
