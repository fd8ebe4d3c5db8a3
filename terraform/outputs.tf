output "cluster_id" {
  description = "Id of the AKS cluster."
  value       = azurerm_kubernetes_cluster.this.id
}

output "resource_group_id" {
  description = "Id of the resource group that holds everything."
  value       = azurerm_resource_group.this.id
}

output "node_resource_group" {
  description = "Name of the resource group in which AKS keeps machines, disks, addresses and load balancers."
  value       = azurerm_kubernetes_cluster.this.node_resource_group
}

output "oidc_issuer_url" {
  description = "Issuer of the cluster's service account tokens, for workload identity."
  value       = azurerm_kubernetes_cluster.this.oidc_issuer_url
}
