{{/* What the pods of operator and injector have in common: {root, component, values}. */}}

{{- define "mtls-tunnel.podMetadata" -}}
{{- with .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $labels := default dict .values.podLabels }}
{{- include "mtls-tunnel.freeLabels" (dict "value" (printf "%s.podLabels" .component) "labels" $labels) }}
labels:
  {{- include "mtls-tunnel.labels" (merge (dict "labels" $labels) .) | nindent 2 }}
  mtlstunnel.dev/inject: "false"
{{- end }}

{{- define "mtls-tunnel.podSettings" -}}
serviceAccountName: {{ include "mtls-tunnel.serviceAccountName" . }}
automountServiceAccountToken: {{ .values.serviceAccount.automountServiceAccountToken }}
enableServiceLinks: false
{{- include "mtls-tunnel.imagePullSecrets" .root }}
{{- with .values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "mtls-tunnel.priorityClassName" . }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with .values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $selector := dict "matchLabels" (include "mtls-tunnel.selectorLabels" $ | fromYaml) }}
  - {{- merge (deepCopy .) (dict "labelSelector" $selector) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- with .values.volumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mtls-tunnel.priorityClassName" -}}
{{- if .values.priorityClassName -}}
{{ .values.priorityClassName }}
{{- else if .root.Values.priorityClass.create -}}
{{ include "mtls-tunnel.fullname" .root }}
{{- end }}
{{- end }}

{{- define "mtls-tunnel.container" -}}
name: {{ .component }}
image: {{ include "mtls-tunnel.image" (dict "root" .root "image" .root.Values.image) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  {{- with .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
livenessProbe:
  httpGet: {path: /healthz, port: health}
  {{- toYaml .values.livenessProbe | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: health}
  {{- toYaml .values.readinessProbe | nindent 2 }}
{{- with .values.volumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* {root, component, values, ports}: a NetworkPolicy's ingress from everywhere to the named ports, or the given rules. */}}
{{- define "mtls-tunnel.networkPolicyRules" -}}
podSelector:
  matchLabels:
    {{- include "mtls-tunnel.selectorLabels" . | nindent 4 }}
policyTypes: [Ingress, Egress]
ingress:
  {{- with .values.networkPolicy.ingress }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - ports:
      {{- range .ports }}
      - {protocol: TCP, port: {{ . }}}
      {{- end }}
  {{- end }}
egress:
  {{- with .values.networkPolicy.egress }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  {{- include "mtls-tunnel.defaultEgress" .root | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "mtls-tunnel.defaultEgress" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}
