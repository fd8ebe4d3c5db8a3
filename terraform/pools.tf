# The other pools.

locals {
  others = { for pool in slice(var.pools, 1, length(var.pools)) : pool.name => pool }
}

resource "azurerm_kubernetes_cluster_node_pool" "this" {
  for_each = local.others

  name                        = each.value.name
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.this.id
  mode                        = each.value.mode
  vm_size                     = each.value.vm_size
  auto_scaling_enabled        = each.value.autoscaled
  node_count                  = each.value.count
  min_count                   = each.value.autoscaled ? each.value.min : null
  max_count                   = each.value.autoscaled ? each.value.max : null
  zones                       = each.value.zones
  max_pods                    = each.value.max_pods
  node_labels                 = each.value.labels
  node_taints                 = each.value.taints
  tags                        = var.tags
  temporary_name_for_rotation = "tmp${substr(each.value.name, 0, 9)}"

  upgrade_settings {
    max_surge = "10%"
  }

  lifecycle {
    ignore_changes = [node_count, tags["expires-at"]]
  }
}
