"""What a model is, and how a request becomes pixels; knows no HTTP, no store, no Ray."""
