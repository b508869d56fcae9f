"""The control plane and what people see: applications, live numbers, callbacks."""
