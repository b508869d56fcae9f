"""ClickHouse for one machine: the engine of the `chdb` wheel serving ClickHouse's own HTTP interface.

The wheel holds ClickHouse's query engine together with its HTTP server, which `SYSTEM START LISTEN HTTP` starts. So
what answers on the port is ClickHouse itself; this package configures it, starts it, stops it and watches over it.
"""
