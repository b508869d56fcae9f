"""Real servers for one machine: Apache Kafka and ClickHouse's engine, each speaking its own protocol on a port."""
