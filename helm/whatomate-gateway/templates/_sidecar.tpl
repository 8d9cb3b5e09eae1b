{{/*
The gateway as a native sidecar, an entry of a pod's `initContainers`: started before the backend, ended after it.
Called from a chart that has this one as a dependency:

  {{- include "whatomate-gateway.sidecar" (index .Subcharts "whatomate-gateway") | nindent 8 }}

with the volumes of whatomate-gateway.sidecar.volumes in the same pod, and terminationGracePeriodSeconds of at least
whatomate-gateway.grace beyond what the backend itself needs.
*/}}
{{- define "whatomate-gateway.sidecar" -}}
- restartPolicy: Always
  {{- include "whatomate-gateway.container" . | nindent 2 }}
{{- end }}

{{- define "whatomate-gateway.sidecar.volumes" -}}
{{- include "whatomate-gateway.volumes" . }}
{{- end }}

{{/* Annotations of the pod: a changed setting replaces it. */}}
{{- define "whatomate-gateway.sidecar.annotations" -}}
checksum/gateway: {{ include "whatomate-gateway.checksum" . }}
{{- end }}
