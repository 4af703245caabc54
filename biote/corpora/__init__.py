"""Raw public files to token shards, and shards to windows."""
