"""The OpenAPI document, section by section."""
