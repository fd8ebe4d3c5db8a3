# One cluster with its logs in one resource group; every name and number comes from the profile.

resource "azurerm_resource_group" "this" {
  name     = var.resource_group
  location = var.location
  tags     = var.tags

  # Here and below: it is pushed out on the group while the environment is used.
  lifecycle {
    ignore_changes = [tags["expires-at"]]
  }
}
