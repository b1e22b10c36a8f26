{{/* Restricted Pod Security: for the pod… */}}
{{- define "splittoken.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* …and for each container. */}}
{{- define "splittoken.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods go and what they are pulled with: takes `root` and `of`, the component's values. */}}
{{- define "splittoken.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Both programs have the same admin server. A pod that has too much to do answers late, and so do all others then: taking them out,
or starting them anew, would leave nobody. So a late answer is waited for, a pod is taken out after 25 s without one, and started
anew after a minute. A pod that ends needs no probe: Kubernetes takes it out when it is asked to end, and it goes on accepting for
gateway.minDrain. Probes come often, so that a new pod is used soon.
*/}}
{{- define "splittoken.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 5
{{- end }}
