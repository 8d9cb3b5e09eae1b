{{- define "whatomate-gateway.name" -}}
{{- include "whatomate-gateway.short" (default .Chart.Name .Values.nameOverride) -}}
{{- end }}

{{- define "whatomate-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- include "whatomate-gateway.short" .Values.fullnameOverride -}}
{{- else if contains (include "whatomate-gateway.name" .) .Release.Name -}}
{{- include "whatomate-gateway.short" .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "whatomate-gateway.name" .) | include "whatomate-gateway.short" -}}
{{- end -}}
{{- end }}

{{/*
A name of 50 characters at most, so that the longest suffix fits within 63. What is cut off is replaced by a part of its
hash: two long names that begin alike stay two. A release's name may have dots, a Service's may not.
*/}}
{{- define "whatomate-gateway.short" -}}
{{- $name := . | replace "." "-" -}}
{{- if gt (len $name) 50 -}}
{{- printf "%s-%s" (trunc 41 $name | trimAll "-") (sha256sum . | trunc 8) -}}
{{- else -}}
{{- trimAll "-" $name -}}
{{- end -}}
{{- end }}

{{- define "whatomate-gateway.selector" -}}
app.kubernetes.io/name: {{ include "whatomate-gateway.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "whatomate-gateway.labels" -}}
{{ include "whatomate-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/*
The metadata of one object. Takes a dict: `at` (the root), `suffix` of its name, or `name`; `labels` and `annotations`, lists
of maps of which the first wins. The chart's own labels win over all of them, since selectors need them.
*/}}
{{- define "whatomate-gateway.metadata" -}}
{{- $annotations := include "whatomate-gateway.merged" (append (.annotations | default list) .at.Values.commonAnnotations) -}}
name: {{ .name | default (printf "%s%s" (include "whatomate-gateway.fullname" .at) (.suffix | default "")) | quote }}
namespace: {{ .at.Release.Namespace | quote }}
labels:
  {{- include "whatomate-gateway.allLabels" . | nindent 2 }}
{{- if ne $annotations "{}" }}
annotations:
  {{- $annotations | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels of an object or of a pod: the chart's, then of the list `labels`, then those of all objects. */}}
{{- define "whatomate-gateway.allLabels" -}}
{{- $own := include "whatomate-gateway.labels" .at | fromYaml -}}
{{- with .component }}{{ $_ := set $own "app.kubernetes.io/component" . }}{{ end -}}
{{- include "whatomate-gateway.merged" (append (prepend (.labels | default list) $own) .at.Values.commonLabels) -}}
{{- end }}

{{/* A list of maps as one, in YAML; where two have a key, the first wins. */}}
{{- define "whatomate-gateway.merged" -}}
{{- $all := dict -}}
{{- range . }}{{ range $key, $value := . }}{{ if not (hasKey $all $key) }}{{ $_ := set $all $key $value }}{{ end }}{{ end }}{{ end -}}
{{- toYaml $all -}}
{{- end }}

{{/* Those of the fields `names` of the map `of` that are not empty, as they are, in YAML. */}}
{{- define "whatomate-gateway.fields" -}}
{{- $found := dict -}}
{{- range $name := .names }}{{ with index $.of $name }}{{ $_ := set $found $name . }}{{ end }}{{ end -}}
{{- with $found }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "whatomate-gateway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "whatomate-gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "whatomate-gateway.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* The Secret whose keys are settings, of theirs or of the chart; empty where there is none. */}}
{{- define "whatomate-gateway.secret" -}}
{{- if .Values.secrets.existing -}}
{{ .Values.secrets.existing }}
{{- else if .Values.secrets.create -}}
{{ include "whatomate-gateway.fullname" . }}
{{- end -}}
{{- end }}
