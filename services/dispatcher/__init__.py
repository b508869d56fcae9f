"""The dispatcher: callbacks from topic `events` to the customers' URLs, signed, retried and recorded."""
