//! Resource providers: a subscription makes resources of a namespace only once that namespace is registered in it.
//!
//! <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-providers-and-types>

use futures::future::join_all;
use serde_json::Value;

use super::arm::{Arm, ArmError, RESOURCES};

/// Namespaces whose resources the module makes, or that AKS makes for it.
pub const PROVIDERS: [&str; 6] = [
    "Microsoft.ContainerService",
    "Microsoft.Compute",
    "Microsoft.Network",
    "Microsoft.ManagedIdentity",
    "Microsoft.OperationalInsights",
    "Microsoft.Insights",
];

fn path(subscription: &str, name: &str) -> String {
    format!("/subscriptions/{subscription}/providers/{name}")
}

fn is_registered(provider: &Value) -> bool {
    provider["registrationState"] == "Registered"
}

/// Those that are not registered.
pub async fn missing<'a>(arm: &Arm, subscription: &str, wanted: &[&'a str]) -> Result<Vec<&'a str>, ArmError> {
    let asked = wanted.iter().map(|name| async { (*name, arm.get(&path(subscription, name), RESOURCES).await) });
    let mut missing = Vec::new();
    for (name, answer) in join_all(asked).await {
        if !answer?.as_ref().is_some_and(is_registered) {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// Registers them and waits until Azure says that they are. Asked twice, it is as asked once.
pub async fn register(arm: &Arm, subscription: &str, names: &[&str]) -> Result<(), ArmError> {
    for name in names {
        arm.post(&format!("{}/register", path(subscription, name)), RESOURCES, &Value::Null).await?;
    }
    for name in names {
        arm.until(&path(subscription, name), RESOURCES, is_registered).await?;
    }
    Ok(())
}
