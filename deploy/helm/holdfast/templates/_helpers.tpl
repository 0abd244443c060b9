{{- /* Names, labels, and the container that both modes have. A parent chart includes holdfast.sidecar and holdfast.volumes with
      the context of this chart: include "holdfast.sidecar" .Subcharts.holdfast */}}

{{- define "holdfast.name" -}}
{{- if contains "holdfast" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-holdfast" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "holdfast.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "holdfast.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "holdfast.container" -}}
name: holdfast
image: {{ include "holdfast.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.extraEnv }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: holdfast-admin
    containerPort: 9930
  {{- if eq .Values.mode "standalone" }}
  {{- range .Values.service.ports }}
  - name: {{ .name }}
    containerPort: {{ .targetPort }}
  {{- end }}
  {{- end }}
startupProbe:
  httpGet: {path: /healthz, port: holdfast-admin}
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /healthz, port: holdfast-admin}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext: {{- include "holdfast.securityContext" . | nindent 2 }}
volumeMounts:
  - {name: holdfast-config, mountPath: /etc/holdfast, readOnly: true}
  - {name: holdfast-secrets, mountPath: /run/secrets/holdfast, readOnly: true}
  {{- if .Values.tls.secretName }}
  - {name: holdfast-tls, mountPath: /run/secrets/holdfast-tls, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* An entry of initContainers: up before the application's containers, told to end after them. */}}
{{- define "holdfast.sidecar" -}}
{{ include "holdfast.container" . }}
restartPolicy: Always
{{- end }}

{{- /* Entries of volumes. */}}
{{- define "holdfast.volumes" -}}
- name: holdfast-config
  configMap: {name: {{ include "holdfast.name" . }}}
- name: holdfast-secrets
  secret: {secretName: {{ .Values.secret.name }}}
{{- if .Values.tls.secretName }}
- name: holdfast-tls
  secret: {secretName: {{ .Values.tls.secretName }}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
