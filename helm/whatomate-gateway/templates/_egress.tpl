{{/* Ports that the gateway may reach: of networkPolicy.egressPorts, and of each URL that is written in the values; sorted, a space between. */}}
{{- define "whatomate-gateway.egressPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.egressPorts }}{{ $ports = append $ports (int . | toString) }}{{ end -}}
{{- $written := printf "%s %s %s %s" (toJson .Values.config) (toJson .Values.routes) (toJson .Values.extraEnv) (toJson .Values.secrets.create) -}}
{{- range regexFindAll "(https?|rediss?|postgres(ql)?)://[^/?\"\\s]+" $written -1 -}}
{{- $usual := ternary "443" (ternary "80" (ternary "5432" "6379" (hasPrefix "postgres" .)) (hasPrefix "http:" .)) (hasPrefix "https:" .) -}}
{{- /* A URL of PostgreSQL may name several hosts. Before the last @ stands a password. */ -}}
{{- range regexReplaceAll "^.*(://|@)" . "" | splitList "," -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default $usual) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | join " " -}}
{{- end }}
