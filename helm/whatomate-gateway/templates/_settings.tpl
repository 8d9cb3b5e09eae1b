{{/* One setting's value as the environment has it: lists joined, numbers without an exponent. */}}
{{- define "whatomate-gateway.value" -}}
{{- if kindIs "slice" . -}}{{ join "," . }}
{{- else if kindIs "float64" . -}}{{ if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- else -}}{{ . }}
{{- end -}}
{{- end }}

{{/* What the ConfigMap holds: what is written in `config`, and where the chart mounts things. */}}
{{- define "whatomate-gateway.settings" -}}
{{- $any := or (has "IPv6" .Values.service.ipFamilies) (hasSuffix "DualStack" .Values.service.ipFamilyPolicy) -}}
{{- range $name, $value := omit .Values.config "GATEWAY_LISTEN" }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }}: {{ include "whatomate-gateway.value" $value | quote }}
{{- end }}
{{- end }}
GATEWAY_LISTEN: {{ include "whatomate-gateway.value" (dig "GATEWAY_LISTEN" "" .Values.config | default (ternary ":8080" "0.0.0.0:8080" $any)) | quote }}
GATEWAY_ADMIN_LISTEN: {{ ternary ":8081" "0.0.0.0:8081" $any | quote }}
{{- if include "whatomate-gateway.secret" . }}
GATEWAY_SECRETS_DIR: /run/secrets/gateway
{{- end }}
{{- if .Values.routes }}
GATEWAY_ROUTES: /etc/gateway/routes.yaml
{{- end }}
{{- if .Values.signingKeys.existing }}
GATEWAY_JWT_KEYS_DIR: /run/secrets/keys
{{- end }}
{{- if .Values.adminToken.existing }}
GATEWAY_ADMIN_TOKEN_FILE: /run/secrets/admin/token
{{- end }}
{{- if .Values.adminTls.existing }}
GATEWAY_ADMIN_TLS_CERT_FILE: /run/secrets/admin-tls/tls.crt
GATEWAY_ADMIN_TLS_KEY_FILE: /run/secrets/admin-tls/tls.key
{{- end }}
{{- if .Values.tls.existing }}
GATEWAY_TLS_CERT_FILE: /run/secrets/tls/tls.crt
GATEWAY_TLS_KEY_FILE: /run/secrets/tls/tls.key
{{- end }}
{{- if .Values.tls.clientAuthorities }}
GATEWAY_TLS_CLIENT_CA_FILE: /run/secrets/client-authorities/ca.crt
{{- end }}
{{- end }}

{{- define "whatomate-gateway.adminHost" -}}
{{- printf "%s-admin.%s.svc" (include "whatomate-gateway.fullname" .) .Release.Namespace -}}
{{- end }}

{{/* The public ports that are reached from outside of the pod, in order and with a space between; a Unix socket and loopback have none. */}}
{{- define "whatomate-gateway.ports" -}}
{{- $ports := list -}}
{{- range include "whatomate-gateway.value" (dig "GATEWAY_LISTEN" "" .Values.config | default "0.0.0.0:8080") | splitList "," }}
{{- $listen := trim . -}}
{{- if not (or (hasPrefix "unix:" $listen) (hasPrefix "127." $listen) (hasPrefix "[::1]" $listen) (hasPrefix "localhost:" $listen)) -}}
{{- $ports = append $ports (regexFind "[0-9]+$" $listen) -}}
{{- end -}}
{{- end -}}
{{- join " " (uniq $ports) -}}
{{- end }}

{{/* The first of them. */}}
{{- define "whatomate-gateway.port" -}}
{{- include "whatomate-gateway.ports" . | splitList " " | first -}}
{{- end }}

{{/* The port of GATEWAY_TLS_REDIRECT_LISTEN, if there is one. */}}
{{- define "whatomate-gateway.redirect" -}}
{{- dig "GATEWAY_TLS_REDIRECT_LISTEN" "" .Values.config | default "" | regexFind "[0-9]+$" -}}
{{- end }}

{{/* Not empty where the public port, or the admin listener, speaks TLS. */}}
{{- define "whatomate-gateway.hasTls" -}}
{{- if or .Values.tls.existing (dig "GATEWAY_TLS_CERT_FILE" "" .Values.config) }}yes{{ end -}}
{{- end }}
{{- define "whatomate-gateway.hasAdminTls" -}}
{{- if or .Values.adminTls.existing (dig "GATEWAY_ADMIN_TLS_CERT_FILE" "" .Values.config) }}yes{{ end -}}
{{- end }}

{{/* Everything that happens between the end of a pod and its being killed, and something to spare. */}}
{{- define "whatomate-gateway.grace" -}}
{{- add (include "whatomate-gateway.drain" .) 10 -}}
{{- end }}

{{- define "whatomate-gateway.drain" -}}
{{- $delay := dig "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS" 5 .Values.config -}}
{{- $drain := dig "GATEWAY_TIMEOUT_DRAIN_SECONDS" 30 .Values.config -}}
{{- add .Values.preStopSeconds (ceil $delay) (ceil $drain) -}}
{{- end }}

{{/* The container, of either mode. */}}
{{- define "whatomate-gateway.container" -}}
name: gateway
image: {{ include "whatomate-gateway.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve{{ if gt (int .Values.workers) 1 }}, --workers, {{ .Values.workers | quote }}{{ end }}]
envFrom:
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  # Last, so that it wins.
  - configMapRef: {name: {{ include "whatomate-gateway.fullname" . | quote }}}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- range $place, $port := include "whatomate-gateway.ports" . | splitList " " | compact }}
  - {name: http{{ if $place }}-{{ add1 $place }}{{ end }}, containerPort: {{ $port }}, protocol: TCP}
  {{- end }}
  {{- with include "whatomate-gateway.redirect" . }}
  - {name: redirect, containerPort: {{ . }}, protocol: TCP}
  {{- end }}
  - {name: admin, containerPort: 8081, protocol: TCP}
{{- range $name := list "startup" "readiness" "liveness" }}
{{- $probe := index $.Values.probes $name }}
{{ $name }}Probe:
  httpGet: {path: {{ $probe.path | quote }}, port: admin{{ if include "whatomate-gateway.hasAdminTls" $ }}, scheme: HTTPS{{ end }}}
  {{- omit $probe "path" | toYaml | nindent 2 }}
{{- end }}
{{- if .Values.preStopSeconds }}
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.preStopSeconds }}}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  {{- if include "whatomate-gateway.secret" . }}
  - {name: gateway-secrets, mountPath: /run/secrets/gateway, readOnly: true}
  {{- end }}
  - {name: gateway-tmp, mountPath: /tmp}
  {{- if .Values.routes }}
  - {name: gateway-routes, mountPath: /etc/gateway, readOnly: true}
  {{- end }}
  {{- if .Values.signingKeys.existing }}
  - {name: gateway-keys, mountPath: /run/secrets/keys, readOnly: true}
  {{- end }}
  {{- if .Values.adminToken.existing }}
  - {name: gateway-admin, mountPath: /run/secrets/admin, readOnly: true}
  {{- end }}
  {{- if .Values.adminTls.existing }}
  - {name: gateway-admin-tls, mountPath: /run/secrets/admin-tls, readOnly: true}
  {{- end }}
  {{- if .Values.tls.existing }}
  - {name: gateway-tls, mountPath: /run/secrets/tls, readOnly: true}
  {{- end }}
  {{- if .Values.tls.clientAuthorities }}
  - {name: gateway-client-authorities, mountPath: /run/secrets/client-authorities, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The volumes it mounts. */}}
{{- define "whatomate-gateway.volumes" -}}
{{- with include "whatomate-gateway.secret" . }}
- name: gateway-secrets
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
- name: gateway-tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- if .Values.routes }}
- name: gateway-routes
  configMap: {name: {{ include "whatomate-gateway.fullname" . }}-routes}
{{- end }}
{{- if .Values.signingKeys.existing }}
- name: gateway-keys
  secret: {secretName: {{ .Values.signingKeys.existing | quote }}, defaultMode: 0440}
{{- end }}
{{- with .Values.adminToken }}
{{- if .existing }}
- name: gateway-admin
  secret: {secretName: {{ .existing | quote }}, defaultMode: 0440, items: [{key: {{ .key | quote }}, path: token}]}
{{- end }}
{{- end }}
{{- if .Values.adminTls.existing }}
- name: gateway-admin-tls
  secret: {secretName: {{ .Values.adminTls.existing | quote }}, defaultMode: 0440}
{{- end }}
{{- if .Values.tls.existing }}
- name: gateway-tls
  secret: {secretName: {{ .Values.tls.existing | quote }}, defaultMode: 0440}
{{- end }}
{{- if .Values.tls.clientAuthorities }}
- name: gateway-client-authorities
  secret: {secretName: {{ .Values.tls.clientAuthorities | quote }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Changes when a setting does: pods whose environment it is are then replaced. Routes and keys are read again instead. */}}
{{- define "whatomate-gateway.checksum" -}}
{{- printf "%s%s" (include "whatomate-gateway.settings" .) (toJson .Values.secrets.create) | sha256sum -}}
{{- end }}

{{/* How a scrape asks the admin listener: by TLS where it speaks that, and with its token, where there is one. */}}
{{- define "whatomate-gateway.scrape" -}}
{{- if include "whatomate-gateway.hasAdminTls" . }}
scheme: https
tlsConfig:
  {{- .Values.monitoring.tls | toYaml | nindent 2 }}
{{- end }}
{{- if .Values.adminToken.existing }}
authorization:
  type: Bearer
  credentials: {name: {{ .Values.adminToken.existing | quote }}, key: {{ .Values.adminToken.key | quote }}}
{{- else if dig "GATEWAY_ADMIN_TOKEN" "" (.Values.secrets.create | default dict) }}
authorization:
  type: Bearer
  credentials: {name: {{ include "whatomate-gateway.secret" . | quote }}, key: GATEWAY_ADMIN_TOKEN}
{{- end }}
{{- end }}
