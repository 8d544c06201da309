"""The words of the house: values every floor may use. Imports nothing of ours, does no I/O."""
