terraform {
  required_version = ">= 1.9, < 2"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.75, < 6"
    }
  }

  # The state lies in the environment's directory, beside the ledger.
  backend "local" {}
}

provider "azurerm" {
  subscription_id = var.subscription_id

  # democtl has looked at the registrations before; a provider that registers dozens needs rights that nothing else does.
  resource_provider_registrations = "none"

  features {
    # Without it an interrupt while AKS is being made leaves a cluster that the state does not know.
    persist_id_on_create_before_polling_for_completion = true

    resource_group {
      # What controllers left in the group (disks, addresses) must not keep it from being removed.
      prevent_deletion_if_contains_resources = false
    }

    log_analytics_workspace {
      permanently_delete_on_destroy = true
    }
  }
}
