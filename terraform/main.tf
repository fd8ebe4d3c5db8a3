# One cluster with its logs in one resource group; every name and number comes from the profile.

resource "azurerm_resource_group" "this" {
  name     = var.resource_group
  location = var.location
  tags     = var.tags
}
