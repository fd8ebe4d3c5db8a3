# Where logs go, and the rule by which the cluster's agent knows what to collect.

locals {
  # What containers print, why pods were moved or refused, and which pod that was. Figures are not collected: democtl
  # reads them from the cluster, and they would be most of the bill.
  streams     = ["Microsoft-ContainerLogV2", "Microsoft-KubeEvents", "Microsoft-KubePodInventory"]
  destination = "workspace"

  # The agent looks for this name.
  extension = "ContainerInsightsExtension"
}

resource "azurerm_log_analytics_workspace" "this" {
  name                = var.workspace.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  sku                 = "PerGB2018"
  retention_in_days   = var.workspace.retention_days
  daily_quota_gb      = var.workspace.daily_quota_gb
  tags                = var.tags

  lifecycle {
    ignore_changes = [tags["expires-at"]]
  }
}

resource "azurerm_monitor_data_collection_rule" "this" {
  name                = var.data_collection_rule
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  kind                = "Linux"
  tags                = var.tags

  data_sources {
    extension {
      name           = local.extension
      extension_name = "ContainerInsights"
      streams        = local.streams
      extension_json = jsonencode({
        dataCollectionSettings = {
          interval               = "1m"
          namespaceFilteringMode = "Off"
          enableContainerLogV2   = true
        }
      })
    }
  }

  destinations {
    log_analytics {
      name                  = local.destination
      workspace_resource_id = azurerm_log_analytics_workspace.this.id
    }
  }

  data_flow {
    streams      = local.streams
    destinations = [local.destination]
  }

  lifecycle {
    ignore_changes = [tags["expires-at"]]
  }
}

# Without it the agent logs in and collects nothing.
resource "azurerm_monitor_data_collection_rule_association" "this" {
  name                    = local.extension
  target_resource_id      = azurerm_kubernetes_cluster.this.id
  data_collection_rule_id = azurerm_monitor_data_collection_rule.this.id
}
