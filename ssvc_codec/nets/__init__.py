"""The networks: plain torch modules without bitstreams or files."""
