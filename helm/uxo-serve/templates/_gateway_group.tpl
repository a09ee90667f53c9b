{{/* The pods of the HTTP side and the housekeeper. */}}
{{- define "uxo.gatewayGroup" -}}
{{- if le (include "uxo.milliCpu" .Values.gateway.resources.cpu | int) 1000 }}
{{- fail (printf "gateway.resources.cpu is %s, and an ingress takes 1 and the housekeeper beside it 0.5; make it more than 1" .Values.gateway.resources.cpu) }}
{{- end }}
- groupName: gateway
  replicas: {{ .Values.gateway.pods }}
  minReplicas: {{ .Values.gateway.pods }}
  maxReplicas: {{ .Values.gateway.pods }}
  rayStartParams:
    {{- include "uxo.startParams" . | nindent 4 }}
    # Ray reads this as JSON inside quotes of its own.
    resources: '"{\"gateway\": 1}"'
  template:
    metadata:
      labels: {{- include "uxo.podLabels" (dict "root" . "part" "gateway") | nindent 8 }}
    spec:
      {{- include "uxo.podSecurity" . | nindent 6 }}
      serviceAccountName: {{ .Release.Name }}-gateway
      terminationGracePeriodSeconds: {{ include "uxo.terminationSeconds" . }}
      {{- include "uxo.placement" .Values.gateway | nindent 6 }}
      # A node that is lost takes as few of them as can be.
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "uxo.podLabels" (dict "root" . "part" "gateway") | nindent 14 }}
      containers:
        - name: ray-worker
          image: {{ .Values.images.gateway }}
          imagePullPolicy: {{ .Values.images.pullPolicy }}
          resources: {{- include "uxo.resources" (dict "resources" .Values.gateway.resources) | nindent 12 }}
          securityContext: {{- include "uxo.containerSecurity" . | nindent 12 }}
          ports:
            - {name: serve, containerPort: 8000}
            - {name: metrics, containerPort: 9464}
          livenessProbe: {{- include "uxo.liveness" . | nindent 12 }}
          readinessProbe: {{- include "uxo.readiness" . | nindent 12 }}
          env:
            {{- include "uxo.environment" (dict "root" . "device" "cpu") | nindent 12 }}
            # When Kubernetes ends the pod, Ray lets its ingress answer what it holds, and then ends everything: 30 s
            # after, unless it is told otherwise here.
            - {name: RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, value: {{ .Values.serve.graceS | quote }}}
          volumeMounts: {{- include "uxo.mounts" . | nindent 12 }}
      volumes: {{- include "uxo.volumes" . | nindent 8 }}
{{- end }}
