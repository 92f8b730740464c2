"""Programs on the runtime: the command line, folders, videos, a server, clusters, Triton."""
