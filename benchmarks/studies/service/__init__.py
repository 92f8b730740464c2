"""The server under load, and more machines than one."""
