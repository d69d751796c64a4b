{{- define "tidegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "tidegate.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tidegate.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidegate.labels" -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* The flag gateway is not the operator: another name, else as all of this chart. */}}
{{- define "tidegate.flagSelector" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . }}-flags
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidegate.flagLabels" -}}
{{ include "tidegate.flagSelector" . }}
{{ omit (fromYaml (include "tidegate.labels" .)) "app.kubernetes.io/name" "app.kubernetes.io/instance" | toYaml }}
{{- end }}

{{- define "tidegate.account" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tidegate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name the account that exists, or set serviceAccount.create" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tidegate.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "tidegate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tidegate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Where the pods of this chart may run: the operator's, and the one that lets go. */}}
{{- define "tidegate.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The documents of a generated file, with the labels of this chart. The text stays as it is, comments too. */}}
{{- define "tidegate.labelled" -}}
{{- $labels := printf "metadata:\n  labels:\n%s\n" (include "tidegate.labels" .context | indent 4) }}
{{- regexReplaceAllLiteral "(?m)^metadata:\n" .text $labels }}
{{- end }}

{{- /* A role (kind Role or ClusterRole) of these rules, bound to an account of this release. */}}
{{- define "tidegate.grant" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  {{- include "tidegate.grantMeta" . | nindent 2 }}
rules:
  {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  {{- include "tidegate.grantMeta" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .context.Release.Namespace }}
{{- end }}

{{- define "tidegate.grantMeta" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "tidegate.labels" .context | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tidegate.beforeDeletion" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* What Prometheus asks for, by the folder that it is mounted in. */}}
{{- define "tidegate.prometheusFiles" -}}
{{- $files := dict }}
{{- with .Values.prometheus }}
{{- if .caConfigMap }}{{ $_ := set $files "ca" (dict "configMap" (dict "name" .caConfigMap)) }}{{ end }}
{{- if .caSecret }}{{ $_ := set $files "ca" (dict "secret" (dict "secretName" .caSecret)) }}{{ end }}
{{- if .basicAuthSecret }}{{ $_ := set $files "basic-auth" (dict "secret" (dict "secretName" .basicAuthSecret)) }}{{ end }}
{{- if .tokenSecret }}{{ $_ := set $files "token" (dict "secret" (dict "secretName" .tokenSecret)) }}{{ end }}
{{- if .headersSecret }}{{ $_ := set $files "headers" (dict "secret" (dict "secretName" .headersSecret)) }}{{ end }}
{{- end }}
{{- toYaml $files }}
{{- end }}
