"""The machine a run works on: device, precision, memory, processes, compiling, batch size."""
