{{/* The URL of the store. It holds no secret. */}}
{{- define "splittoken.storeUrl" -}}
{{- if eq .Values.store.mode "embedded" -}}
redis://gateway@{{ .Release.Name }}-store.{{ .Release.Namespace }}.svc:6379
{{- else -}}
{{- with .Values.store.redis -}}
{{ ternary "rediss" "redis" .tls.enabled }}://{{ with .username }}{{ . }}@{{ end }}{{ first .addresses }}{{ with .database }}/{{ . }}{{ end }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The Secret with the store's password, and its entry. */}}
{{- define "splittoken.storePassword" -}}
{{- if eq .Values.store.mode "embedded" -}}
secretName: {{ .Release.Name }}-store
items: [{key: password, path: password}]
{{- else -}}
secretName: {{ .Values.store.redis.existingSecret }}
items: [{key: {{ .Values.store.redis.passwordKey }}, path: password}]
{{- end -}}
{{- end }}

{{/* The Secret with the only authority to trust, if there is one. */}}
{{- define "splittoken.storeAuthority" -}}
{{- with .Values.store.redis.tls -}}
{{- if and (eq $.Values.store.mode "redis") .enabled .caSecret -}}
secretName: {{ .caSecret }}
items: [{key: {{ .caKey }}, path: ca.crt}]
{{- end -}}
{{- end -}}
{{- end }}

{{/* The Secret with our own certificate, if the store asks for one. */}}
{{- define "splittoken.storeIdentity" -}}
{{- with .Values.store.redis.tls -}}
{{- if and (eq $.Values.store.mode "redis") .enabled .clientSecret -}}
secretName: {{ .clientSecret }}
{{- end -}}
{{- end -}}
{{- end }}
