{{/* One group of GPU pods. Takes the root, the group's name and the group. */}}
{{- define "uxo.gpuGroup" -}}
{{- $weights := .root.Values.weights -}}
- groupName: {{ .name }}
  replicas: {{ .group.pods }}
  minReplicas: {{ .group.pods }}
  maxReplicas: {{ .group.pods }}
  rayStartParams:
    resources: '"{\"group-{{ .name }}\": 1}"'
  template:
    metadata:
      labels:
        {{- include "uxo.podLabels" (dict "root" .root "part" "gpu") | nindent 8 }}
        uxo-serve/group: {{ .name }}
    spec:
      {{- include "uxo.podSecurity" .root | nindent 6 }}
      serviceAccountName: {{ .root.Release.Name }}
      terminationGracePeriodSeconds: {{ include "uxo.terminationSeconds" .root }}
      nodeSelector: {{- toYaml .group.nodeSelector | nindent 8 }}
      tolerations: {{- toYaml .group.tolerations | nindent 8 }}
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
          volumeMounts:
            - {name: weights, mountPath: /weights}
            - {name: passing, mountPath: /tmp}
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
          resources: {{- include "uxo.resources" .group | nindent 12 }}
          securityContext: {{- include "uxo.containerSecurity" . | nindent 12 }}
          ports:
            - {name: serve, containerPort: 8000}
          livenessProbe: {{- include "uxo.liveness" . | nindent 12 }}
          readinessProbe: {{- include "uxo.readiness" . | nindent 12 }}
          env: {{- include "uxo.environment" (dict "root" .root "device" .group.device) | nindent 12 }}
          volumeMounts:
            {{- include "uxo.mounts" . | nindent 12 }}
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
          emptyDir: {sizeLimit: {{ $weights.copy.size }}}
{{- end }}
{{- end }}
