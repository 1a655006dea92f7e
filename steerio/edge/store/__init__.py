"""Objects: files that are mapped, and any connector of ProxyStore."""
