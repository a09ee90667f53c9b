{{/* The head of a NetworkPolicy: takes the root, its name and the parts whose pods it is about; none means all. */}}
{{- define "uxo.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .root.Release.Name }}-{{ .name }}
  labels: {{- include "uxo.labels" .root | nindent 4 }}
spec:
  podSelector: {{- include "uxo.podsOf" . | nindent 4 }}
{{- end }}

{{- define "uxo.podsOf" -}}
matchLabels: {uxo-serve/release: {{ .root.Release.Name }}}
{{- with .parts }}
matchExpressions: [{key: uxo-serve/part, operator: In, values: {{ toJson . }}}]
{{- end }}
{{- end }}

{{/* One range of the public internet without what is closed. Takes the root, the range and whether it is IPv6. */}}
{{- define "uxo.publicRange" -}}
- ipBlock:
    cidr: {{ .range }}
    except:
{{- range concat .root.Values.network.closedRanges .root.Values.network.clusterRanges | uniq }}
{{- if eq (contains ":" .) $.isIpv6 }}
      - {{ . }}
{{- end }}
{{- end }}
{{- end }}
