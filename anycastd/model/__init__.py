"""The words of the domain: frozen values, standard library only, no behaviour that needs a clock or a device."""
