"""The gateway: what the people's commands do, for shop software in any language, on loopback."""
