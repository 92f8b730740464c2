"""Processor, memory and threads of the machine."""
