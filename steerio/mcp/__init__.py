"""The door for AI assistants: a run as tools of the Model Context Protocol (MCP).

An assistant looks in, and proposes or gives orders, as its role says. Only
`steerio.mcp.assistant_server` imports the protocol's SDK, which is an extra.
"""
