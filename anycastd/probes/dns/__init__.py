"""DNS check, and the codec and exchange that name resolution uses as well."""
