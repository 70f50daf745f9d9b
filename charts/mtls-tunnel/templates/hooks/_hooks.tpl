{{/* Jobs of Helm's hooks.  {root, hook, events, verbs, args, timeout}; each has a service account of its own that
     may touch the webhook configuration by name, and is removed when it has succeeded. */}}

{{- define "mtls-tunnel.hookName" -}}
{{ include "mtls-tunnel.fullname" .root }}-{{ .hook }}
{{- end }}

{{- define "mtls-tunnel.hookAnnotations" -}}
helm.sh/hook: {{ .events }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "mtls-tunnel.hookAccess" -}}
{{- $name := include "mtls-tunnel.hookName" . }}
{{- $context := dict "root" .root "component" .hook "name" $name "events" .events "weight" "-5" }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "mtls-tunnel.metadata" $context | nindent 2 }}
  annotations:
    {{- include "mtls-tunnel.hookAnnotations" $context | nindent 4 }}
automountServiceAccountToken: false
{{- if .root.Values.rbac.create }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "mtls-tunnel.clusterMetadata" $context | nindent 2 }}
  annotations:
    {{- include "mtls-tunnel.hookAnnotations" $context | nindent 4 }}
rules:
  - apiGroups: [admissionregistration.k8s.io]
    resources: [mutatingwebhookconfigurations]
    resourceNames: [{{ include "mtls-tunnel.fullname" .root }}]
    verbs: {{ toJson .verbs }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "mtls-tunnel.clusterMetadata" $context | nindent 2 }}
  annotations:
    {{- include "mtls-tunnel.hookAnnotations" $context | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ include "mtls-tunnel.namespace" .root }}}
{{- end }}
{{- end }}

{{- define "mtls-tunnel.hookPod" -}}
metadata:
  labels:
    {{- include "mtls-tunnel.labels" (dict "root" .root "component" .hook) | nindent 4 }}
    mtlstunnel.dev/inject: "false"
  {{- with .root.Values.hooks.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "mtls-tunnel.hookPodSpec" . | nindent 2 }}
{{- end }}

{{- define "mtls-tunnel.hookPodSpec" -}}
restartPolicy: Never
serviceAccountName: {{ include "mtls-tunnel.hookName" . }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- include "mtls-tunnel.imagePullSecrets" .root }}
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.hooks.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.hooks.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .hook }}
    image: {{ include "mtls-tunnel.image" (dict "root" .root "image" .root.Values.image) | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    terminationMessagePolicy: FallbackToLogsOnError
    {{- with .root.Values.hooks.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}

{{- define "mtls-tunnel.hookJob" -}}
{{- include "mtls-tunnel.hookAccess" . }}
---
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "mtls-tunnel.metadata" (dict "root" .root "component" .hook "name" (include "mtls-tunnel.hookName" .)) | nindent 2 }}
  annotations:
    {{- include "mtls-tunnel.hookAnnotations" (dict "events" .events "weight" "0") | nindent 4 }}
spec:
  backoffLimit: 2
  activeDeadlineSeconds: {{ .timeout }}
  template:
    {{- include "mtls-tunnel.hookPod" . | nindent 4 }}
{{- end }}
