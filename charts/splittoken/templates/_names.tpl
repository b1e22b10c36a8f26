{{/* Everything that belongs to the release has this in its labels. */}}
{{- define "splittoken.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "splittoken.selector" . }}
{{- end }}

{{/* What picks the pods of a component. Never changes: selectors of Deployments are immutable. */}}
{{- define "splittoken.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "splittoken.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Names outside of the release's namespace say which release they are of. */}}
{{- define "splittoken.clusterName" -}}
{{ .Release.Namespace }}:{{ .Release.Name }}-operator
{{- end }}

{{/* Where cleartext is taken. Where clients may not use it, the pod alone has it, for kubectl port-forward. */}}
{{- define "splittoken.cleartextAddress" -}}
{{- if .Values.gateway.service.cleartext }}{{ .Values.bindAddress }}
{{- else if hasPrefix "[" .Values.bindAddress }}[::1]
{{- else }}127.0.0.1
{{- end }}
{{- end }}

{{/* A duration such as 1m30s in seconds, rounded up. */}}
{{- define "splittoken.seconds" -}}
{{- div (add (include "splittoken.milliseconds" .) 999) 1000 }}
{{- end }}

{{/* What the schema cannot say in clear words. */}}
{{- define "splittoken.validate" -}}
{{- if gt (len .Release.Name) 45 }}
{{- fail "the release's name is too long: at most 45 characters, because Services are called after it" }}
{{- end }}
{{- if eq .Values.store.mode "redis" }}
{{- if not .Values.store.redis.addresses }}
{{- fail "store.redis.addresses: say where the store is, such as [redis.internal:6379]" }}
{{- end }}
{{- if not .Values.store.redis.existingSecret }}
{{- fail "store.redis.existingSecret: name a Secret of this namespace that holds the store's password" }}
{{- end }}
{{- end }}
{{- if eq (int .Values.gateway.service.port) (int .Values.gateway.service.tlsPort) }}
{{- fail "gateway.service: port and tlsPort are the same" }}
{{- end }}
{{- if not (or .Values.gateway.service.cleartext .Values.gateway.tls.certificateSecrets) }}
{{- fail "gateway.service.cleartext: without gateway.tls.certificateSecrets clients have no other port" }}
{{- end }}
{{- include "splittoken.validateBounds" .Values.gateway }}
{{- $resources := .Values.gateway.resources }}
{{- $isFixed := not (kindIs "invalid" .Values.gateway.replicas) }}
{{- with .Values.gateway.autoscaling }}
{{- if not (or .enabled $isFixed) }}
{{- fail "gateway.replicas: say how many, or switch gateway.autoscaling on" }}
{{- end }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail "gateway.autoscaling: minReplicas is more than maxReplicas" }}
{{- end }}
{{- /* Kubernetes takes the limit for the request where only that is set. */}}
{{- if and .enabled (not (or (dig "requests" "cpu" "" $resources) (dig "limits" "cpu" "" $resources))) }}
{{- fail "gateway.resources.requests.cpu: say how much, because gateway.autoscaling counts in percent of it" }}
{{- end }}
{{- end }}
{{- end }}
