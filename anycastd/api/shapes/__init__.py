"""The shapes of answers and bodies; the OpenAPI document and the tests hold every answer to them."""
