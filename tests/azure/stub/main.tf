# The same group, workspace and cluster as terraform/ makes, for a machine without the azurerm provider: terraform_data
# and a few lines of shell that ask the fake.

terraform {
  backend "local" {}
}

locals {
  group = "/subscriptions/${var.subscription_id}/resourceGroups/${var.resource_group}"
}

resource "terraform_data" "group" {
  input = { path = local.group, version = "2021-04-01" }

  provisioner "local-exec" {
    command     = "sh arm.sh PUT '${self.input.path}' ${self.input.version}"
    environment = { BODY = jsonencode({ location = var.location, tags = var.tags }) }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "sh arm.sh DELETE '${self.input.path}' ${self.input.version}"
  }
}

resource "terraform_data" "workspace" {
  input = {
    path    = "${terraform_data.group.output.path}/providers/Microsoft.OperationalInsights/workspaces/${var.workspace.name}"
    version = "2023-09-01"
  }

  provisioner "local-exec" {
    command     = "sh arm.sh PUT '${self.input.path}' ${self.input.version}"
    environment = { BODY = jsonencode({ location = var.location, tags = var.tags, properties = { retentionInDays = var.workspace.retention_days } }) }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "sh arm.sh DELETE '${self.input.path}' '${self.input.version}&force=true'"
  }
}

resource "terraform_data" "cluster" {
  input = {
    path    = "${terraform_data.group.output.path}/providers/Microsoft.ContainerService/managedClusters/${var.cluster.name}"
    version = "2025-10-01"
  }
  depends_on = [terraform_data.workspace]

  provisioner "local-exec" {
    command = "sh arm.sh PUT '${self.input.path}' ${self.input.version}"
    environment = {
      BODY = jsonencode({
        location = var.location
        tags     = var.tags
        sku      = { name = "Base", tier = var.cluster.sku_tier }
        identity = { type = "SystemAssigned" }
        properties = {
          dnsPrefix         = var.cluster.dns_prefix
          nodeResourceGroup = var.node_resource_group
          kubernetesVersion = var.cluster.kubernetes_version
          autoScalerProfile = var.autoscaler
          agentPoolProfiles = [for pool in var.pools : {
            name              = pool.name
            vmSize            = pool.vm_size
            mode              = pool.mode
            count             = pool.count
            enableAutoScaling = pool.autoscaled
            minCount          = pool.autoscaled ? pool.min : null
            maxCount          = pool.autoscaled ? pool.max : null
            availabilityZones = pool.zones
            maxPods           = pool.max_pods
          }]
        }
      })
    }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "sh arm.sh DELETE '${self.input.path}' ${self.input.version}"
  }
}

output "cluster_id" {
  value = terraform_data.cluster.output.path
}
