"""What every service needs once: settings, logging, metrics, Kafka and ClickHouse clients, the application table."""
