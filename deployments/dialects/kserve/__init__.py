"""The KServe v2 language as NVIDIA Triton speaks it over HTTP, with tensors as JSON or as bytes behind the JSON.

kserve.py answers calls · model_text.py describes the models · tensors.py reads tensors · wish.py makes requests of
them · answer.py writes pictures and numbers as tensors
"""
