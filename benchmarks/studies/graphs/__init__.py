"""The exported graph: what each form, setting, precision and backbone costs."""
