"""WaveSpeedAI's v3 language: submit a task, poll it, or hold the line until it ends; and what stands around tasks.

Every answer is ``{"code", "message", "data"}``; a refusal has no ``data``, a failed task is answered with HTTP 200.
Source: WaveSpeedAI API reference and the client packages wavespeed 2.0.5 (Python) and 0.3.2 (JavaScript), seen 2026-11.
"""

from deployments.dialects.wavespeed.wavespeed import WaveSpeed

__all__ = ["WaveSpeed"]
