# The cluster with its own pool, the first of the profile's.

locals {
  system = var.pools[0]
}

resource "azurerm_kubernetes_cluster" "this" {
  name                = var.cluster.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  node_resource_group = var.node_resource_group
  dns_prefix          = var.cluster.dns_prefix
  kubernetes_version  = var.cluster.kubernetes_version
  sku_tier            = var.cluster.sku_tier

  oidc_issuer_enabled       = true
  workload_identity_enabled = true
  automatic_upgrade_channel = "patch"
  node_os_upgrade_channel   = "NodeImage"

  identity {
    type = "SystemAssigned"
  }

  default_node_pool {
    name                        = local.system.name
    vm_size                     = local.system.vm_size
    auto_scaling_enabled        = local.system.autoscaled
    node_count                  = local.system.count
    min_count                   = local.system.autoscaled ? local.system.min : null
    max_count                   = local.system.autoscaled ? local.system.max : null
    zones                       = local.system.zones
    max_pods                    = local.system.max_pods
    node_labels                 = local.system.labels
    tags                        = var.tags
    temporary_name_for_rotation = "rotation"

    # Not saying it is a difference in every plan.
    upgrade_settings {
      max_surge = "10%"
    }
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    load_balancer_sku   = "standard"
  }

  # Pools are scaled by the cluster autoscaler, not made by Node Auto-Provisioning.
  node_provisioning_profile {
    mode = "Manual"
  }

  dynamic "auto_scaler_profile" {
    for_each = var.autoscaler == null ? [] : [var.autoscaler]
    content {
      scan_interval                    = auto_scaler_profile.value.scan_interval
      scale_down_delay_after_add       = auto_scaler_profile.value.scale_down_delay_after_add
      scale_down_unneeded              = auto_scaler_profile.value.scale_down_unneeded
      scale_down_utilization_threshold = auto_scaler_profile.value.scale_down_utilization_threshold
      expander                         = auto_scaler_profile.value.expander
      max_node_provisioning_time       = auto_scaler_profile.value.max_node_provisioning_time
    }
  }

  dynamic "api_server_access_profile" {
    for_each = length(var.authorized_ip_ranges) == 0 ? [] : [var.authorized_ip_ranges]
    content {
      authorized_ip_ranges = api_server_access_profile.value
    }
  }

  # A demo is given by day: what Azure changes by itself it changes on Sunday nights.
  maintenance_window_auto_upgrade {
    frequency   = "Weekly"
    interval    = 1
    day_of_week = "Sunday"
    start_time  = "01:00"
    utc_offset  = "+00:00"
    duration    = 4
  }

  # Without it new images of the nodes come whenever Azure has them.
  maintenance_window_node_os {
    frequency   = "Weekly"
    interval    = 1
    day_of_week = "Sunday"
    start_time  = "01:00"
    utc_offset  = "+00:00"
    duration    = 4
  }

  oms_agent {
    log_analytics_workspace_id      = azurerm_log_analytics_workspace.this.id
    msi_auth_for_monitoring_enabled = true
  }

  tags = var.tags

  lifecycle {
    # The autoscaler owns the count once the cluster stands.
    ignore_changes = [default_node_pool[0].node_count, default_node_pool[0].tags["expires-at"], tags["expires-at"]]
  }
}
