"""What several tests share: tiny models, short runs, a server in a process of its own, a browser."""
