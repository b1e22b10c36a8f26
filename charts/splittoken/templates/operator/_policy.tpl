{{/* An empty selector is left out: the operator then serves every namespace. */}}
{{- define "splittoken.policy" -}}
{{- if .Values.policy.namespaceSelector -}}
{{ toYaml .Values.policy }}
{{- else -}}
{{ omit .Values.policy "namespaceSelector" | toYaml }}
{{- end }}
{{- end }}
