// The process that holds a pod together.
module mtls-tunnel.test/pause

go 1.21
