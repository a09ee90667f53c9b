{{/* One group of GPU pods. Takes the root, the group's name and the group. */}}
{{- define "uxo.gpuGroup" -}}
{{- $weights := .root.Values.weights -}}
{{- if and .group.scale (not .root.Values.autoscaler.enabled) }}
{{- fail (printf "gpuGroups.%s.scale needs autoscaler.enabled" .name) }}
{{- end }}
{{- if and .group.scale (lt (int (default dict .group.scale).maxPods) (int .group.pods)) }}
{{- fail (printf "gpuGroups.%s.scale.maxPods is less than pods" .name) }}
{{- end }}
{{- if and (not .group.scale) (lt (int .group.pods) 1) }}
{{- fail (printf "gpuGroups.%s.pods is 0, and without scale nothing would ever change that" .name) }}
{{- end }}
- groupName: {{ .name }}
  replicas: {{ .group.pods }}
  minReplicas: {{ .group.pods }}
  maxReplicas: {{ ternary .group.pods (default dict .group.scale).maxPods (empty .group.scale) }}
  rayStartParams:
    {{- include "uxo.startParams" .root | nindent 4 }}
    # KubeRay would guess it from the resource's name, and knows no other than those that end in gpu.
    num-gpus: {{ .group.gpus | quote }}
    resources: '"{\"group-{{ .name }}\": 1}"'
  template:
    metadata:
      labels:
        {{- include "uxo.podLabels" (dict "root" .root "part" "gpu") | nindent 8 }}
        uxo-serve/group: {{ .name }}
    spec:
      {{- include "uxo.podSecurity" .root | nindent 6 }}
      serviceAccountName: {{ .root.Release.Name }}-gpu
      terminationGracePeriodSeconds: {{ include "uxo.terminationSeconds" .root }}
      {{- include "uxo.placement" .group | nindent 6 }}
{{- if ne $weights.source "tiny" }}
      initContainers:
{{- if eq $weights.source "copy" }}
        - name: copy-weights
          image: {{ $weights.copy.image }}
          imagePullPolicy: {{ .root.Values.images.pullPolicy }}
          command: {{ toJson $weights.copy.command }}
{{- with $weights.copy.secret }}
          envFrom: [{secretRef: {name: {{ . }}}}]
{{- end }}
          resources: {{- include "uxo.resources" (dict "resources" .group.resources) | nindent 12 }}
          securityContext: {{- include "uxo.containerSecurity" . | nindent 12 }}
{{- with .root.Values.extraEnv }}
          env: {{- toYaml . | nindent 12 }}
{{- end }}
          volumeMounts:
            - {name: weights, mountPath: /weights}
            - {name: passing, mountPath: /tmp}
            {{- include "uxo.extra" .root.Values.extraVolumeMounts | nindent 12 }}
{{- end }}
{{- if $weights.warmUp }}
        - name: warm-up
          image: {{ .root.Values.images.engine }}
          imagePullPolicy: {{ .root.Values.images.pullPolicy }}
          command: [sh, -c, "find /weights -type f -exec cat {} + > /dev/null"]
          resources: {{- include "uxo.resources" (dict "resources" .group.resources) | nindent 12 }}
          securityContext: {{- include "uxo.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - {name: weights, mountPath: /weights, readOnly: true}
{{- end }}
{{- end }}
      containers:
        - name: ray-worker
          image: {{ .root.Values.images.engine }}
          imagePullPolicy: {{ .root.Values.images.pullPolicy }}
          # Ray learns of the end of a pod and gives 30 s, but a replica waits for work on its own account: it is told here
          # to claim no more and to end what it has begun. The 30 s come afterwards, within the minute that is left.
          lifecycle: {preStop: {exec: {command: [uxo, drain]}}}
          resources: {{- include "uxo.resources" .group | nindent 12 }}
          securityContext: {{- include "uxo.containerSecurity" .root.Values.seccomp | nindent 12 }}
          ports:
            - {name: serve, containerPort: 8000}
            - {name: metrics, containerPort: 9464}
          livenessProbe: {{- include "uxo.liveness" . | nindent 12 }}
          readinessProbe: {{- include "uxo.readiness" . | nindent 12 }}
          env: {{- include "uxo.environment" (dict "root" .root "device" .group.device) | nindent 12 }}
          volumeMounts:
            {{- include "uxo.mounts" .root | nindent 12 }}
{{- if ne $weights.source "tiny" }}
            - {name: weights, mountPath: /weights, readOnly: true}
{{- end }}
      volumes:
        {{- include "uxo.volumes" .root | nindent 8 }}
{{- if eq $weights.source "claim" }}
        - name: weights
          persistentVolumeClaim: {claimName: {{ $weights.claim }}, readOnly: true}
{{- else if eq $weights.source "copy" }}
        - name: weights
          ephemeral:
            volumeClaimTemplate:
              spec:
                accessModes: [ReadWriteOnce]
{{- with $weights.copy.storageClassName }}
                storageClassName: {{ . }}
{{- end }}
                resources: {requests: {storage: {{ $weights.copy.size }}}}
{{- end }}
{{- end }}
