"""Who runs which shard: this process, worker processes of this machine, or a Ray cluster."""
