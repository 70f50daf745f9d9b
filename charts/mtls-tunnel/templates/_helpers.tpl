{{/* Names, labels and images.  Nothing here, or anywhere in the chart, draws random bytes, makes certificates
     or asks the cluster: the same values always give the same text. */}}

{{- define "mtls-tunnel.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Cut to 40: the longest suffix of an object's name fits into 63. */}}
{{- define "mtls-tunnel.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mtls-tunnel.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "mtls-tunnel.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mtls-tunnel.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "mtls-tunnel.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "mtls-tunnel.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: mtls-tunnel
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* {root, component, labels}: labels of an object or pod; `labels` may be left out, and goes before the others. */}}
{{- define "mtls-tunnel.labels" -}}
{{- $common := default dict .root.Values.commonLabels -}}
{{- include "mtls-tunnel.freeLabels" (dict "value" "commonLabels" "labels" $common) -}}
{{- mergeOverwrite (include "mtls-tunnel.chartLabels" . | fromYaml) $common (default dict .labels) | toYaml }}
{{- end }}

{{/* {value, labels}: refuses labels by which selectors and Helm find what is theirs, and those of the injector. */}}
{{- define "mtls-tunnel.freeLabels" -}}
{{- $fixed := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/managed-by" -}}
{{- range $name := keys .labels | sortAlpha -}}
{{- if or (has $name $fixed) (hasPrefix "mtlstunnel.dev/" $name) -}}
{{- fail (printf "%s: leave out %s, the chart sets it itself; names are changed with nameOverride and fullnameOverride" $.value $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* {root, component, name, labels}: metadata of a namespaced object, without annotations. */}}
{{- define "mtls-tunnel.metadata" -}}
name: {{ .name }}
namespace: {{ include "mtls-tunnel.namespace" .root }}
labels:
  {{- include "mtls-tunnel.labels" . | nindent 2 }}
{{- end }}

{{/* The same for an object without namespace. */}}
{{- define "mtls-tunnel.clusterMetadata" -}}
name: {{ .name }}
labels:
  {{- include "mtls-tunnel.labels" . | nindent 2 }}
{{- end }}

{{/* {root, image}: the reference that the kubelet gets. */}}
{{- define "mtls-tunnel.image" -}}
{{- $registry := default .image.registry (.root.Values.global).imageRegistry -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end }}
{{- end }}

{{- define "mtls-tunnel.imagePullSecrets" -}}
{{- with concat (default list (.Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) | uniq }}
imagePullSecrets:
  {{- range . }}
  - {{ if kindIs "string" . }}name: {{ . }}{{ else }}{{ toYaml . | nindent 4 | trim }}{{ end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* {root, component}: name of the ServiceAccount of operator or injector. */}}
{{- define "mtls-tunnel.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- default (printf "%s-%s" (include "mtls-tunnel.fullname" .root) .component) $account.name }}
{{- end }}

{{- define "mtls-tunnel.servingSecret" -}}
{{- $certificate := .Values.injector.certificate -}}
{{- if eq $certificate.mode "Existing" -}}
{{- required "injector.certificate.secretName: name the Secret with the serving certificate (mode Existing)" $certificate.secretName -}}
{{- else -}}
{{- include "mtls-tunnel.fullname" . }}-webhook-tls
{{- end -}}
{{- end }}

{{/* Names of the trust domains that the chart knows of, as JSON. */}}
{{- define "mtls-tunnel.trustDomains" -}}
{{- $names := list .Values.trustDomain.name -}}
{{- range .Values.rbac.trustDomains }}{{ $names = append $names .name }}{{ end -}}
{{- $names | uniq | toJson -}}
{{- end }}

{{/* Secrets that the operator makes in the release's namespace: four names for the CAs of a domain, what
     cert-manager writes for it, and the webhook's. */}}
{{- define "mtls-tunnel.ownSecrets" -}}
{{- $names := list -}}
{{- range include "mtls-tunnel.trustDomains" . | fromJsonArray -}}
{{- $domain := . -}}
{{- range list "1" "2" "3" "4" "source" }}{{ $names = append $names (printf "%s-ca-%s" $domain .) }}{{ end -}}
{{- end -}}
{{- if eq .Values.injector.certificate.mode "Operator" -}}
{{- $names = concat $names (list (printf "%s-webhook-ca" (include "mtls-tunnel.fullname" .)) (include "mtls-tunnel.servingSecret" .)) -}}
{{- end -}}
{{- $names | toJson -}}
{{- end }}

{{/* Secrets with CAs that somebody else keeps. */}}
{{- define "mtls-tunnel.foreignSecrets" -}}
{{- $names := list -}}
{{- if eq .Values.trustDomain.ca.mode "Secret" }}{{ $names = append $names .Values.trustDomain.ca.secretName }}{{ end -}}
{{- range .Values.rbac.trustDomains }}{{ with .secretName }}{{ $names = append $names . }}{{ end }}{{ end -}}
{{- $names | uniq | toJson -}}
{{- end }}

{{/* ConfigMaps with the bundles of the trust domains. */}}
{{- define "mtls-tunnel.bundles" -}}
{{- $names := list -}}
{{- range include "mtls-tunnel.trustDomains" . | fromJsonArray }}{{ $names = append $names (printf "%s-bundle" .) }}{{ end -}}
{{- $names | toJson -}}
{{- end }}

{{/* {root, component}: the ServiceAccount as the subject of a binding. */}}
{{- define "mtls-tunnel.subject" -}}
- kind: ServiceAccount
  name: {{ include "mtls-tunnel.serviceAccountName" . }}
  namespace: {{ include "mtls-tunnel.namespace" .root }}
{{- end }}

{{/* The spec of the MtlsTrustDomain that the operator makes, beside its trustDomain. */}}
{{- define "mtls-tunnel.trustDomainSpec" -}}
{{- $ca := .Values.trustDomain.ca -}}
{{- $spec := dict "ca" (dict "type" $ca.mode) -}}
{{- if eq $ca.mode "Secret" -}}
{{- $name := required "trustDomain.ca.secretName: name the Secret with the CA (ca.mode Secret)" $ca.secretName -}}
{{- $_ := set $spec.ca "secretRef" (dict "name" $name) -}}
{{- else if eq $ca.mode "CertManager" -}}
{{- $name := required "trustDomain.ca.issuerRef.name: name the issuer of the CA (ca.mode CertManager)" $ca.issuerRef.name -}}
{{- $_ := set $spec.ca "issuerRef" (dict "group" "cert-manager.io" "kind" $ca.issuerRef.kind "name" $name) -}}
{{- end -}}
{{- mergeOverwrite $spec (deepCopy (default dict .Values.trustDomain.spec)) | toYaml -}}
{{- end }}
