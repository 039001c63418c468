"""TLS check, and the contexts that https uses as well."""
