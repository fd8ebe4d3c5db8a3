# Needs the azurerm provider but no Azure. With the variables of any profile:
# terraform init && terraform test -var-file=FILE

mock_provider "azurerm" {}

run "pools_are_those_of_the_profile" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.default_node_pool[0].name == var.pools[0].name
    error_message = "the first pool is the cluster's own"
  }

  assert {
    condition     = join(" ", keys(azurerm_kubernetes_cluster_node_pool.this)) == join(" ", sort(slice(var.pools[*].name, 1, length(var.pools))))
    error_message = "each other pool is a resource of its own"
  }

  assert {
    condition = alltrue([
      for pool in slice(var.pools, 1, length(var.pools)) :
      azurerm_kubernetes_cluster_node_pool.this[pool.name].max_count == (pool.autoscaled ? pool.max : null)
    ])
    error_message = "only a pool that autoscales has bounds"
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.default_node_pool[0].max_count == (var.pools[0].autoscaled ? var.pools[0].max : null)
    error_message = "only a pool that autoscales has bounds"
  }

  assert {
    condition = var.autoscaler == null ? true : (
      azurerm_kubernetes_cluster.this.auto_scaler_profile[0].scale_down_unneeded == var.autoscaler.scale_down_unneeded
    )
    error_message = "the autoscaler is set as the profile has it"
  }
}

run "everything_bears_the_tags_that_cleanup_looks_for" {
  command = plan

  assert {
    condition = alltrue([
      for tags in concat(
        [
          azurerm_resource_group.this.tags,
          azurerm_log_analytics_workspace.this.tags,
          azurerm_monitor_data_collection_rule.this.tags,
          azurerm_kubernetes_cluster.this.tags,
          azurerm_kubernetes_cluster.this.default_node_pool[0].tags,
        ],
        [for pool in azurerm_kubernetes_cluster_node_pool.this : pool.tags],
      ) : tags == var.tags
    ])
    error_message = "a resource lacks a tag"
  }
}

run "logs_are_collected_and_bounded" {
  command = plan

  assert {
    condition     = contains(azurerm_monitor_data_collection_rule.this.data_flow[0].streams, "Microsoft-ContainerLogV2")
    error_message = "what containers print is not collected"
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.oms_agent[0].msi_auth_for_monitoring_enabled
    error_message = "without its own identity the agent heeds no rule"
  }

  assert {
    condition     = azurerm_log_analytics_workspace.this.daily_quota_gb == var.workspace.daily_quota_gb
    error_message = "nothing bounds the bill of the logs"
  }
}

run "the_api_server_is_open_unless_ranges_are_given" {
  command = plan

  variables {
    authorized_ip_ranges = []
  }

  assert {
    condition     = length(azurerm_kubernetes_cluster.this.api_server_access_profile) == 0
    error_message = "it is closed to everybody"
  }
}

run "the_api_server_is_open_to_given_ranges" {
  command = plan

  variables {
    authorized_ip_ranges = ["198.51.100.0/24"]
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.api_server_access_profile[0].authorized_ip_ranges == toset(["198.51.100.0/24"])
    error_message = "the ranges are not passed on"
  }
}

run "a_range_that_is_none_is_refused" {
  command = plan

  variables {
    authorized_ip_ranges = ["my-office"]
  }

  expect_failures = [var.authorized_ip_ranges]
}

run "an_unbounded_bill_is_refused" {
  command = plan

  variables {
    workspace = merge(var.workspace, { daily_quota_gb = -1 })
  }

  expect_failures = [var.workspace]
}

run "a_cluster_without_a_system_pool_is_refused" {
  command = plan

  variables {
    pools = [merge(var.pools[0], { mode = "User" })]
  }

  expect_failures = [var.pools]
}
