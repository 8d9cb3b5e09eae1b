{{/*
What every pod of the chart has. Takes a dict: `at` (the root), and `own`, a map whose nodeSelector, tolerations, affinity and
priorityClassName replace the gateway's where they are not null.
*/}}
{{- define "whatomate-gateway.pod" -}}
{{- $values := .at.Values -}}
{{- $all := dict -}}
{{- range list "imagePullSecrets" "runtimeClassName" "schedulerName" "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- $_ := set $all . (index $values .) -}}
{{- end -}}
{{- range list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- $own := index ($.own | default dict) . -}}
{{- $_ := set $all . (kindIs "invalid" $own | ternary (index $values .) $own) -}}
{{- end -}}
enableServiceLinks: false
securityContext:
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- with include "whatomate-gateway.fields" (dict "of" $all "names" (keys $all)) }}
{{ . }}
{{- end }}
{{- end }}
