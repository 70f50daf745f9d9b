{{- define "mtls-tunnel.notes" -}}
mtls-tunnel {{ .Chart.AppVersion }} is installed as {{ .Release.Name }} in namespace {{ include "mtls-tunnel.namespace" . }}.

Next:

  1. Let a namespace have sidecars:
       kubectl label namespace shop mtlstunnel.dev/injection=enabled

  2. Protect a workload of it and connect a client (fit the labels and ports):
       kubectl apply -f - <<'END'
       apiVersion: mtlstunnel.dev/v1alpha1
       kind: MtlsTunnel
       metadata: {name: orders-db, namespace: shop}
       spec:
         server:
           workload: {selector: {matchLabels: {app: postgres}}}
           ports: [{name: pg, targetPort: 5432, tlsPort: 15432}]
         clients:
         - name: api
           selector: {matchLabels: {app: orders-api}}
           listeners: [{port: pg, localPort: 5432}]
       END

  3. Pods that are older than their tunnel have no sidecar: restart them, then look:
       kubectl get mtlstunnels --all-namespaces
       kubectl exec -n {{ include "mtls-tunnel.namespace" . }} deploy/{{ include "mtls-tunnel.fullname" . }}-operator -- \
         tunnel-operator check --namespace {{ include "mtls-tunnel.namespace" . }} --name {{ include "mtls-tunnel.fullname" . }}

Uninstalling removes the webhook first; trust domains, CA keys, certificates and tunnels stay, and running pods go on
working until their certificate expires.
{{- $warnings := list }}
{{- if lt (int .Values.injector.replicaCount) 2 }}
{{- $warnings = append $warnings "injector.replicaCount is below 2: while that one pod is away, opted-in namespaces get no new pods." }}
{{- end }}
{{- if lt (int .Values.operator.replicaCount) 2 }}
{{- $warnings = append $warnings "operator.replicaCount is below 2: certificates are not renewed while that one pod is away." }}
{{- end }}
{{- if eq .Values.injector.failurePolicy "Ignore" }}
{{- $warnings = append $warnings "injector.failurePolicy is Ignore: pods start WITHOUT a sidecar while no injector answers. Watch the alert MtlsTunnelPodsNotInjected." }}
{{- end }}
{{- if and .Values.trustDomain.create (eq .Values.trustDomain.ca.mode "SelfSigned") }}
{{- $warnings = append $warnings (printf "the CA of trust domain %s is self-signed; its key lies in a Secret of namespace %s. Whoever reads Secrets there can become anybody." .Values.trustDomain.name (include "mtls-tunnel.namespace" .)) }}
{{- end }}
{{- if not .Values.admissionPolicy.enabled }}
{{- $warnings = append $warnings "admissionPolicy.enabled is false: nothing but RBAC limits which Secrets the operator writes." }}
{{- end }}
{{- if not .Values.crds.keep }}
{{- $warnings = append $warnings "crds.keep is false: uninstalling this release deletes EVERY MtlsTunnel and MtlsTrustDomain of the cluster." }}
{{- end }}
{{- if not .Values.rbac.create }}
{{- $warnings = append $warnings "rbac.create is false: nothing works until somebody binds the roles of the chart's rbac.yaml." }}
{{- end }}
{{- if .Values.injector.hostNetwork }}
{{- $warnings = append $warnings "injector.hostNetwork is true: Pod Security `restricted` and `baseline` refuse these pods, and NetworkPolicies do not see them." }}
{{- end }}
{{- range $warnings }}

WARNING: {{ . }}
{{- end }}
{{- end }}
