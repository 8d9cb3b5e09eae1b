{{/* One setting's value as the environment has it: lists joined, numbers without an exponent. */}}
{{- define "whatomate-gateway.value" -}}
{{- if kindIs "slice" . -}}{{ join "," . }}
{{- else if kindIs "float64" . -}}{{ if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- else -}}{{ . }}
{{- end -}}
{{- end }}

{{/* What the ConfigMap holds: what is written in `config`, and where the chart mounts things. */}}
{{- define "whatomate-gateway.settings" -}}
{{- range $name, $value := .Values.config }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }}: {{ include "whatomate-gateway.value" $value | quote }}
{{- end }}
{{- end }}
{{- if not (hasKey .Values.config "GATEWAY_LISTEN") }}
GATEWAY_LISTEN: "0.0.0.0:8080"
{{- end }}
GATEWAY_ADMIN_LISTEN: "0.0.0.0:8081"
GATEWAY_SECRETS_DIR: /run/secrets/gateway
{{- if .Values.routes }}
GATEWAY_ROUTES: /etc/gateway/routes.yaml
{{- end }}
{{- if .Values.signingKeys.existing }}
GATEWAY_JWT_KEYS_DIR: /run/secrets/keys
{{- end }}
{{- if .Values.adminToken.existing }}
GATEWAY_ADMIN_TOKEN_FILE: /run/secrets/admin/token
{{- end }}
{{- if .Values.tls.existing }}
GATEWAY_TLS_CERT_FILE: /run/secrets/tls/tls.crt
GATEWAY_TLS_KEY_FILE: /run/secrets/tls/tls.key
{{- end }}
{{- if .Values.tls.clientAuthorities }}
GATEWAY_TLS_CLIENT_CA_FILE: /run/secrets/client-authorities/ca.crt
{{- end }}
{{- end }}

{{/* The public port: of GATEWAY_LISTEN where that is set, else 8080. */}}
{{- define "whatomate-gateway.port" -}}
{{- dig "GATEWAY_LISTEN" "0.0.0.0:8080" .Values.config | splitList "," | first | splitList ":" | last -}}
{{- end }}

{{/* Everything that happens between the end of a pod and its being killed, and something to spare. */}}
{{- define "whatomate-gateway.grace" -}}
{{- $delay := dig "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS" 5 .Values.config -}}
{{- $drain := dig "GATEWAY_TIMEOUT_DRAIN_SECONDS" 30 .Values.config -}}
{{- add .Values.preStopSeconds (ceil $delay) (ceil $drain) 10 -}}
{{- end }}

{{/* The container, of either mode. */}}
{{- define "whatomate-gateway.container" -}}
name: gateway
image: {{ include "whatomate-gateway.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve{{ if gt (int .Values.workers) 1 }}, --workers, {{ .Values.workers | quote }}{{ end }}]
envFrom:
  - configMapRef: {name: {{ include "whatomate-gateway.fullname" . }}}
ports:
  - {name: http, containerPort: {{ include "whatomate-gateway.port" . }}, protocol: TCP}
  - {name: admin, containerPort: 8081, protocol: TCP}
startupProbe:
  httpGet: {path: /livez, port: admin{{ include "whatomate-gateway.scheme" . }}}
  {{- toYaml .Values.probes.startup | nindent 2 }}
readinessProbe:
  httpGet: {path: {{ .Values.probes.readiness.path | default "/readyz" }}, port: admin{{ include "whatomate-gateway.scheme" . }}}
  {{- toYaml (omit .Values.probes.readiness "path") | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: admin{{ include "whatomate-gateway.scheme" . }}}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
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
  - {name: gateway-secrets, mountPath: /run/secrets/gateway, readOnly: true}
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
- name: gateway-secrets
  secret: {secretName: {{ include "whatomate-gateway.secret" . }}, defaultMode: 0440}
- name: gateway-tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- if .Values.routes }}
- name: gateway-routes
  configMap: {name: {{ include "whatomate-gateway.fullname" . }}-routes}
{{- end }}
{{- if .Values.signingKeys.existing }}
- name: gateway-keys
  secret: {secretName: {{ .Values.signingKeys.existing }}, defaultMode: 0440}
{{- end }}
{{- with .Values.adminToken }}
{{- if .existing }}
- name: gateway-admin
  secret: {secretName: {{ .existing }}, defaultMode: 0440, items: [{key: {{ .key }}, path: token}]}
{{- end }}
{{- end }}
{{- if .Values.tls.existing }}
- name: gateway-tls
  secret: {secretName: {{ .Values.tls.existing }}, defaultMode: 0440}
{{- end }}
{{- if .Values.tls.clientAuthorities }}
- name: gateway-client-authorities
  secret: {secretName: {{ .Values.tls.clientAuthorities }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
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
{{- if dig "GATEWAY_ADMIN_TLS_CERT_FILE" "" .Values.config }}
scheme: https
tlsConfig:
  {{- .Values.monitoring.tls | toYaml | nindent 2 }}
{{- end }}
{{- if .Values.adminToken.existing }}
authorization:
  type: Bearer
  credentials: {name: {{ .Values.adminToken.existing }}, key: {{ .Values.adminToken.key }}}
{{- else if hasKey (.Values.secrets.create | default dict) "GATEWAY_ADMIN_TOKEN" }}
authorization:
  type: Bearer
  credentials: {name: {{ include "whatomate-gateway.secret" . }}, key: GATEWAY_ADMIN_TOKEN}
{{- end }}
{{- end }}

{{/* How probes ask the admin listener, where it speaks TLS. */}}
{{- define "whatomate-gateway.scheme" -}}
{{- if dig "GATEWAY_ADMIN_TLS_CERT_FILE" "" .Values.config }}, scheme: HTTPS{{ end -}}
{{- end }}
