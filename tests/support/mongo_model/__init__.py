"""A model of a MongoDB replica set, a standalone or mongos: test equipment that answers drivers as a server would, from memory."""
