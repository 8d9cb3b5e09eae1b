{{/* Ports that the gateway may reach: of networkPolicy.egressPorts, and of each URL that is written in the values; sorted, a space between. */}}
{{- define "whatomate-gateway.egressPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.egressPorts }}{{ $ports = append $ports (int . | toString) }}{{ end -}}
{{- /* Raw, so that an & between parameters stays one. A line's end is no part of a URL. */ -}}
{{- $values := printf "%s %s %s %s" (toRawJson .Values.config) (toRawJson .Values.routes) (toRawJson .Values.extraEnv) (toRawJson .Values.secrets.create) -}}
{{- $written := $values | replace "\\n" " " -}}
{{- range regexFindAll "https?://[^/?#\"\\s,]+" $written -1 -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https:" .))) -}}
{{- end -}}
{{- /* A URL of PostgreSQL, or of sentinels, may name several hosts. Before the last @ stands a password. */ -}}
{{- range regexFindAll "rediss?(\\+\\w+)?://[^/?#\"\\s]+" $written -1 -}}
{{- $sentinels := contains "+sentinel://" . -}}
{{- range regexReplaceAll "^.*(://|@)" . "" | splitList "," -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default (ternary "26379" "6379" $sentinels)) -}}
{{- end -}}
{{- /* The server that sentinels name is known to them alone. */ -}}
{{- if $sentinels }}{{ $ports = append $ports "6379" }}{{ end -}}
{{- end -}}
{{- /* The port behind the ? wins, as in libpq. */ -}}
{{- range regexFindAll "postgres(ql)?://[^\"\\s]*" $written -1 -}}
{{- $behind := regexFind "[?&]port=[0-9,%Cc]*" . | replace "%2C" "," | replace "%2c" "," -}}
{{- $hosts := regexReplaceAll "^.*(://|@)" (regexFind "^[^/]*//[^/?]*" .) "" -}}
{{- range ternary (regexReplaceAll "^.*=" $behind "" | splitList ",") (splitList "," $hosts) (ne $behind "") -}}
{{- $ports = append $ports (regexFind "(^|:)[0-9]+$" . | trimPrefix ":" | default "5432") -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | join " " -}}
{{- end }}

{{/* Ports of name servers beside 53, of GATEWAY_RESOLVER_SERVERS; a space between. */}}
{{- define "whatomate-gateway.resolverPorts" -}}
{{- $ports := list -}}
{{- range regexFindAll "(\\]|\\.[0-9]+):[0-9]+" (toRawJson (dig "GATEWAY_RESOLVER_SERVERS" "" .Values.config)) -1 -}}
{{- $ports = append $ports (regexFind "[0-9]+$" .) -}}
{{- end -}}
{{- without $ports "53" | uniq | sortAlpha | join " " -}}
{{- end }}
