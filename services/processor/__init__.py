"""From Kafka to ClickHouse: facts, and what is computed from them. The only writer of the tables."""
