"""For tests of Lambent and with Lambent: a running service, and what stands in for runtimes."""
