"""Tasks: their definitions in YAML, the registry that finds them by name, and the MTEB tasks made from them."""
