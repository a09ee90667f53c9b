{{/* What several templates share. */}}

{{/* The labels by which policies and budgets find our pods; Ray's operator has its own. Takes the root and a part. */}}
{{- define "uxo.podLabels" -}}
uxo-serve/release: {{ .root.Release.Name }}
uxo-serve/part: {{ .part }}
{{- end }}

{{- define "uxo.labels" -}}
app.kubernetes.io/name: uxo-serve
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "uxo.folderClaim" -}}
{{ .Values.folder.claim | default (printf "%s-folder" .Release.Name) }}
{{- end }}

{{/* What every pod of ours is held to. */}}
{{- define "uxo.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* On which nodes a pod may run, and how. Takes the values of a group. */}}
{{- define "uxo.placement" -}}
nodeSelector: {{- toYaml .nodeSelector | nindent 2 }}
tolerations: {{- toYaml .tolerations | nindent 2 }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end }}

{{/* What every container of ours is held to. Takes a profile of seccomp that lies on the nodes, if it is to be another. */}}
{{- define "uxo.containerSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
privileged: false
capabilities: {drop: [ALL]}
{{- with .localhostProfile }}
seccompProfile: {type: Localhost, localhostProfile: {{ . }}}
{{- else }}
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- end }}

{{/* Requests are limits, so that no pod is ended for what its neighbours need. Takes resources, and perhaps GPUs. */}}
{{- define "uxo.resources" -}}
{{- range $kind := list "requests" "limits" }}
{{ $kind }}:
  cpu: {{ $.resources.cpu | quote }}
  memory: {{ $.resources.memory }}
  ephemeral-storage: {{ $.resources.ephemeralStorage }}
{{- if $.gpuResource }}
  {{ $.gpuResource }}: {{ $.gpus }}
{{- end }}
{{- end }}
{{- end }}

{{/* An environment variable from a Secret. */}}
{{- define "uxo.secretVariable" -}}
- name: {{ .variable }}
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}

{{/* The environment of Ray's pods. Takes the root and a torch device. */}}
{{- define "uxo.environment" -}}
{{- $values := .root.Values -}}
{{ include "uxo.secretVariable" (dict "variable" "UXO_DATABASE_URL" "name" $values.secrets.database.name "key" $values.secrets.database.key) }}
{{ include "uxo.secretVariable" (dict "variable" "UXO_SECRET" "name" $values.secrets.server.name "key" $values.secrets.server.key) }}
{{- with $values.secrets.bootstrapKeys }}
{{- if .name }}
{{ include "uxo.secretVariable" (dict "variable" "UXO_BOOTSTRAP_KEYS" "name" .name "key" .key) }}
{{- else }}
# Or a demo tenant would be made, whose key lies in the shared folder.
- {name: UXO_BOOTSTRAP_KEYS, value: none}
{{- end }}
{{- end }}
{{- with $values.secrets.bucket }}
{{- if .name }}
{{ include "uxo.secretVariable" (dict "variable" "AWS_ACCESS_KEY_ID" "name" .name "key" .accessKeyId) }}
{{ include "uxo.secretVariable" (dict "variable" "AWS_SECRET_ACCESS_KEY" "name" .name "key" .secretAccessKey) }}
{{- end }}
{{- end }}
{{- with $values.bucket }}
- {name: UXO_BUCKET, value: {{ .name | quote }}}
{{- range $variable, $value := dict "UXO_BUCKET_PREFIX" .prefix "UXO_S3_ENDPOINT" .endpoint "UXO_S3_REGION" .region "UXO_S3_ADDRESSING" .addressing }}
{{- if $value }}
- {name: {{ $variable }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}
- {name: UXO_FOLDER, value: /folder}
- {name: UXO_WEIGHTS, value: {{ ternary "tiny" "/weights" (eq $values.weights.source "tiny") }}}
- {name: UXO_DEVICE, value: {{ .device | quote }}}
- {name: UXO_DENIED_NETWORKS, value: {{ join "," $values.network.clusterRanges | quote }}}
# Prometheus reads them from another pod; the port has its default, 9464.
- {name: UXO_METRICS_HOST, value: 0.0.0.0}
- {name: UXO_OUTBOUND_PORTS, value: {{ join "," $values.network.publicPorts | quote }}}
{{- with $values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range $variable, $value := $values.settings }}
- {name: {{ $variable }}, value: {{ $value | quote }}}
{{- end }}
# HAProxy instead of Serve's proxy: docs/adr/0004.
- {name: RAY_SERVE_ENABLE_HA_PROXY, value: "1"}
# As Ray starts it, HAProxy overlooks callers who hang up: deployments/haproxy.py.
- {name: RAY_SERVE_HAPROXY_BINARY_PATH, value: /opt/uxo/bin/uxo-haproxy}
# What the processes of a node say is what its container says, so that `kubectl logs` shows it.
- {name: RAY_LOG_TO_STDERR, value: "1"}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
# The root is for reading; what libraries keep at home goes where all that is passing goes.
- {name: HOME, value: /tmp}
{{- include "uxo.extra" $values.extraEnv }}
{{- end }}

{{/* A list of the values, after ours. */}}
{{- define "uxo.extra" -}}
{{- with . }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What every Ray container can write to. */}}
{{- define "uxo.mounts" -}}
- {name: passing, mountPath: /tmp}
- {name: shared-memory, mountPath: /dev/shm}
- {name: folder, mountPath: /folder}
{{- include "uxo.extra" .Values.extraVolumeMounts }}
{{- end }}

{{- define "uxo.volumes" -}}
- name: passing
  emptyDir: {}
- name: shared-memory
  emptyDir: {medium: Memory, sizeLimit: 1Gi}
- name: folder
  persistentVolumeClaim: {claimName: {{ include "uxo.folderClaim" . }}}
{{- include "uxo.extra" .Values.extraVolumes }}
{{- end }}

{{/*
What every node tells Ray of itself. Its store of objects holds next to nothing here, but has to fit into /dev/shm: without
a size Ray takes a third of the memory, and moves to the disk where that is more than /dev/shm has.
*/}}
{{- define "uxo.startParams" -}}
# 100 MiB.
object-store-memory: "104857600"
{{- end }}

{{/* Thousandths of a processor. */}}
{{- define "uxo.milliCpu" -}}
{{- if hasSuffix "m" . }}{{ trimSuffix "m" . }}{{ else }}{{ mulf . 1000.0 | int }}{{ end }}
{{- end }}

{{/* Alive as long as Ray's agent in the pod says so; its path asks for no token. */}}
{{- define "uxo.liveness" -}}
httpGet: {path: /api/local_raylet_healthz, port: 52365}
initialDelaySeconds: 60
periodSeconds: 10
timeoutSeconds: 5
failureThreshold: 12
# A pod that hangs ends nothing in order: it is not asked to for as long as one that is to go.
terminationGracePeriodSeconds: 30
{{- end }}

{{/* A worker gets calls once Serve listens in its pod. */}}
{{- define "uxo.readiness" -}}
httpGet: {path: /-/healthz, port: 8000}
periodSeconds: 5
timeoutSeconds: 2
failureThreshold: 2
{{- end }}

{{/* Seconds a pod has to stop: what Serve gives a replica, and a minute for Ray itself. */}}
{{- define "uxo.terminationSeconds" -}}
{{ add .Values.serve.graceS 60 }}
{{- end }}
