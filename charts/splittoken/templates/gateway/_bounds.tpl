{{/* Bounds that the gateway has and a pattern cannot say: beyond them it would not start. */}}
{{- define "splittoken.validateBounds" -}}
{{- $limits := .limits | default dict }}
{{- range $name := list "headerTimeout" "keepAliveTimeout" "sendTimeout" "tokenRequestTimeout" }}
{{- with get $limits $name }}
{{- $time := include "splittoken.milliseconds" . | atoi }}
{{- if or (lt $time 1000) (gt $time 3600000) }}
{{- fail (printf "gateway.limits.%s: %s is not from 1s to 1h" $name .) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name := list "minDrain" "drain" }}
{{- if gt (include "splittoken.milliseconds" (get $ $name) | atoi) 3600000 }}
{{- fail (printf "gateway.%s: %s is not from 0s to 1h" $name (get $ $name)) }}
{{- end }}
{{- end }}
{{- $bytes := dict
  "maxHeaderBytes" (list "4KiB" "1MiB")
  "maxBodyBytes" (list "1B" "")
  "maxTokenRequestBytes" (list "1KiB" "1MiB")
  "nearCacheBytes" (list "1MiB" "1TiB") }}
{{- range $name, $bounds := $bytes }}
{{- $value := get $limits $name }}
{{- if not (kindIs "string" $value) }}
{{- $value = printf "%d" (int64 $value) }}
{{- end }}
{{- if hasKey $limits $name }}
{{- $size := include "splittoken.bytes" $value | atoi }}
{{- $least := first $bounds }}
{{- $most := last $bounds }}
{{- if lt $size (include "splittoken.bytes" $least | atoi) }}
{{- fail (printf "gateway.limits.%s: %s is less than %s" $name $value $least) }}
{{- end }}
{{- if and $most (gt $size (include "splittoken.bytes" $most | atoi)) }}
{{- fail (printf "gateway.limits.%s: %s is more than %s" $name $value $most) }}
{{- end }}
{{- end }}
{{- end }}
{{- if regexMatch "/v1/traces/*$" (dig "otlpEndpoint" "" (.tracing | default dict)) }}
{{- fail "gateway.tracing.otlpEndpoint: leave /v1/traces out, the gateway adds it" }}
{{- end }}
{{- end }}

{{/* A duration such as 1m30s. Read by atoi, for which a leading zero means nothing. */}}
{{- define "splittoken.milliseconds" -}}
{{- $milliseconds := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 }}
{{- $unit := index (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+" .) }}
{{- $milliseconds = add $milliseconds (mul $unit (regexFind "[0-9]+" . | atoi)) }}
{{- end }}
{{- $milliseconds }}
{{- end }}

{{/* A number of bytes such as 64KiB; the schema sees to it that it fits. */}}
{{- define "splittoken.bytes" -}}
{{- $unit := regexFind "[A-Za-z]+" . }}
{{- $powers := dict "" 0 "B" 0 "K" 1 "M" 2 "G" 3 "T" 4 }}
{{- $size := regexFind "[0-9]+" . | atoi }}
{{- range until (index $powers (trunc 1 $unit) | int) }}
{{- $size = mul $size (ternary 1024 1000 (contains "i" $unit)) }}
{{- end }}
{{- $size }}
{{- end }}
