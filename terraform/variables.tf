variable "subscription_id" {
  description = "Subscription that pays."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.subscription_id))
    error_message = "subscription_id must be a UUID."
  }
}

variable "location" {
  description = "Azure region, such as westeurope."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be a region's name in small letters, such as westeurope."
  }
}

variable "resource_group" {
  description = "Resource group that holds everything."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._()-]{0,89}[A-Za-z0-9_()-]$", var.resource_group))
    error_message = "resource_group must be 1 to 90 letters, digits and ._()- and not end in a dot."
  }
}

variable "node_resource_group" {
  description = "Resource group in which AKS keeps machines, disks, addresses and load balancers."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.node_resource_group) >= 1 && length(var.node_resource_group) <= 80
    error_message = "node_resource_group must be 1 to 80 characters."
  }
}

variable "cluster" {
  description = "The AKS cluster."
  type = object({
    name               = string
    dns_prefix         = string
    sku_tier           = string
    kubernetes_version = optional(string)
  })
  nullable = false

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$", var.cluster.name))
    error_message = "cluster.name must be 1 to 63 letters, digits, _ and -."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,52}[A-Za-z0-9])?$", var.cluster.dns_prefix))
    error_message = "cluster.dns_prefix must be 1 to 54 letters, digits and -."
  }

  validation {
    condition     = contains(["Free", "Standard", "Premium"], var.cluster.sku_tier)
    error_message = "cluster.sku_tier must be Free, Standard or Premium."
  }

  validation {
    condition     = var.cluster.kubernetes_version == null || can(regex("^1\\.[0-9]+(\\.[0-9]+)?$", var.cluster.kubernetes_version))
    error_message = "cluster.kubernetes_version must be such as 1.33 or 1.33.5."
  }
}

variable "workspace" {
  description = "The Log Analytics workspace."
  type = object({
    name           = string
    retention_days = number
    daily_quota_gb = number
  })
  nullable = false

  validation {
    condition     = var.workspace.retention_days >= 30 && var.workspace.retention_days <= 730
    error_message = "workspace.retention_days must be 30 to 730."
  }

  validation {
    condition     = var.workspace.daily_quota_gb > 0
    error_message = "workspace.daily_quota_gb must be above 0: a demo must not be able to run up a bill."
  }
}

variable "data_collection_rule" {
  description = "Name of the rule that says which logs of the cluster are collected."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.data_collection_rule))
    error_message = "data_collection_rule must be 1 to 64 letters, digits, _ and -."
  }
}

variable "pools" {
  description = "Node pools in order; the first is the system pool of the cluster itself."
  type = list(object({
    name       = string
    vm_size    = string
    mode       = string
    count      = number
    min        = number
    max        = number
    autoscaled = bool
    zones      = list(string)
    max_pods   = number
    labels     = map(string)
    taints     = list(string)
  }))
  nullable = false

  validation {
    condition     = length(var.pools) > 0 && length(distinct(var.pools[*].name)) == length(var.pools)
    error_message = "pools must hold at least one pool, each with a name of its own."
  }

  validation {
    condition     = alltrue([for pool in var.pools : can(regex("^[a-z][a-z0-9]{0,11}$", pool.name))])
    error_message = "a pool's name must be 1 to 12 small letters and digits and begin with a letter."
  }

  validation {
    condition     = alltrue([for pool in var.pools : pool.min <= pool.count && pool.count <= pool.max && pool.max <= 1000])
    error_message = "every pool must have min <= count <= max <= 1000."
  }

  validation {
    condition     = try(var.pools[0].mode, "") == "System" && try(var.pools[0].count, 0) >= 1
    error_message = "the first pool must be a System pool of at least one node."
  }

  validation {
    condition     = try(length(var.pools[0].taints), 0) == 0
    error_message = "the first pool is the cluster's own, whose nodes cannot be tainted here."
  }

  validation {
    condition     = alltrue([for pool in var.pools : contains(["System", "User"], pool.mode)])
    error_message = "a pool's mode must be System or User."
  }
}

variable "autoscaler" {
  description = "The cluster autoscaler's profile; null when no pool autoscales."
  type = object({
    scan_interval                    = string
    scale_down_delay_after_add       = string
    scale_down_unneeded              = string
    scale_down_utilization_threshold = number
    expander                         = string
    max_node_provisioning_time       = string
  })
  default = null
}

variable "authorized_ip_ranges" {
  description = "Networks that may reach the API server; empty: everybody, with a login."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for range in var.authorized_ip_ranges : can(cidrhost(range, 0))])
    error_message = "authorized_ip_ranges must be CIDR blocks, such as 198.51.100.0/24."
  }
}

variable "tags" {
  description = "Tags of everything; democtl finds by them what it made."
  type        = map(string)
  nullable    = false
}
