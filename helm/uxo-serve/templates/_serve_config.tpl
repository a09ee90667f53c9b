{{/* What Ray Serve is told: how many of what, and on what. It holds no secrets. */}}
{{- define "uxo.serveConfig" -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
logging_config:
  encoding: JSON
  log_level: WARNING
  enable_access_log: false
applications:
  - name: uxo
    route_prefix: /
    import_path: deployments.app:build
    args:
      capacity: {{ .Values.serve.capacity }}
      grace_s: {{ .Values.serve.graceS }}
      replicas:
{{- range $name, $group := .Values.gpuGroups }}
{{- if $group }}
        {{ $name }}: {{ toJson $group.models }}
{{- end }}
{{- end }}
    deployments:
      - name: ingress
        num_replicas: {{ .Values.gateway.pods }}
        max_replicas_per_node: 1
        rolling_update_percentage: {{ .Values.serve.updateFraction }}
        ray_actor_options: {num_cpus: 1, resources: {gateway: 0.001}}
      - name: housekeeper
        num_replicas: 1
        ray_actor_options: {num_cpus: 0.5, resources: {gateway: 0.001}}
{{- range $name, $group := .Values.gpuGroups }}
{{- if $group }}
      - name: {{ $name }}
{{- with $group.scale }}
        autoscaling_config:
          min_replicas: {{ $group.pods }}
          max_replicas: {{ .maxPods }}
          upscale_delay_s: 0
          downscale_delay_s: 0
          policy:
            policy_function: deployments.autoscaling:BacklogPolicy
            policy_kwargs:
              models: {{ toJson $group.models }}
              wait_s: {{ .waitS }}
              calm_s: {{ .calmS }}
              units_per_s: {{ .unitsPerS }}
{{- /* One steps at a time, however many a replica holds: docs/benchmarks/autoscaling.md. */}}
              capacity: 1
{{- else }}
        num_replicas: {{ $group.pods }}
{{- end }}
        max_replicas_per_node: 1
        rolling_update_percentage: {{ $.Values.serve.updateFraction }}
        ray_actor_options: {num_cpus: 1, num_gpus: {{ $group.gpus }}, resources: {group-{{ $name }}: 1}}
{{- end }}
{{- end }}
{{- end }}
