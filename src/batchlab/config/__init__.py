"""The typed configuration: schema, composition, identity, trusted targets."""
