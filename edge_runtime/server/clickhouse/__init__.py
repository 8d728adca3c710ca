"""Codes in ClickHouse, for what one machine cannot hold. Shards and replicas are ClickHouse's."""
