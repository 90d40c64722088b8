//! The in-cluster Kubernetes API: service account and pull secrets.
