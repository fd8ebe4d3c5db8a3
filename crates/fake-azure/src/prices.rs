//! The Retail Prices API: no login, a `$filter`, pages by `NextPageLink`.
//!
//! Values in the filter are compared by case, as the real one does since `api-version=2023-01-01-preview`.

use serde_json::{Value, json};

use crate::{
    wire::{Answer, Request},
    world::World,
};

/// One meter's price.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// `Virtual Machines`, `Azure Kubernetes Service`, ...
    pub service: String,
    /// `Virtual Machines Dsv5 Series`, or one that ends in `Windows`.
    pub product: String,
    /// `Standard_D4s_v5`; empty where there is none.
    pub arm_sku: String,
    /// `D4s v5`, `D4s v5 Spot`, `D4s v5 Low Priority`.
    pub sku: String,
    /// Name of the meter.
    pub meter: String,
    /// Region.
    pub region: String,
    /// Dollars per unit.
    pub usd: f64,
    /// `1 Hour`, `1/Month`, `1 GB`.
    pub unit: String,
}

impl Price {
    pub(crate) fn vm(size: &str, usd: f64) -> Self {
        let short = size.trim_start_matches("Standard_").replace('_', " ");
        Self {
            service: "Virtual Machines".into(),
            product: "Virtual Machines Dsv5 Series".into(),
            arm_sku: size.into(),
            sku: short.clone(),
            meter: short,
            region: "westeurope".into(),
            usd,
            unit: "1 Hour".into(),
        }
    }

    fn field(&self, name: &str) -> &str {
        match name {
            "serviceName" => &self.service,
            "productName" => &self.product,
            "armSkuName" => &self.arm_sku,
            "skuName" => &self.sku,
            "meterName" => &self.meter,
            "armRegionName" => &self.region,
            "priceType" | "type" => "Consumption",
            "currencyCode" => "USD",
            _ => "",
        }
    }

    fn json(&self) -> Value {
        json!({
            "currencyCode": "USD", "retailPrice": self.usd, "unitPrice": self.usd, "armRegionName": self.region,
            "location": "EU West", "effectiveStartDate": "2026-01-01T00:00:00Z", "meterName": self.meter,
            "productName": self.product, "skuName": self.sku, "serviceName": self.service, "unitOfMeasure": self.unit,
            "type": "Consumption", "isPrimaryMeterRegion": true, "armSkuName": self.arm_sku,
        })
    }
}

/// The prices that a new world starts with; each VM size also has its Windows, Spot and Low Priority traps.
pub(crate) fn defaults() -> Vec<Price> {
    let mut prices = Vec::new();
    for (size, usd) in [("Standard_D2s_v5", 0.115), ("Standard_D4s_v5", 0.23), ("Standard_D8s_v5", 0.46)] {
        let linux = Price::vm(size, usd);
        let variant = |suffix: &str, factor: f64| Price {
            sku: format!("{} {suffix}", linux.sku),
            meter: format!("{} {suffix}", linux.meter),
            usd: usd * factor,
            ..linux.clone()
        };
        prices.push(Price { product: format!("{} Windows", linux.product), usd: usd * 1.8, ..linux.clone() });
        prices.push(variant("Spot", 0.2));
        prices.push(variant("Low Priority", 0.2));
        prices.push(linux);
    }
    prices.push(Price {
        service: "Azure Kubernetes Service".into(),
        product: "Azure Kubernetes Service".into(),
        arm_sku: String::new(),
        sku: "Standard".into(),
        meter: "Standard Uptime SLA".into(),
        region: "westeurope".into(),
        usd: 0.10,
        unit: "1 Hour".into(),
    });
    prices
}

impl World {
    pub(crate) fn retail_prices(&self, request: &Request) -> Answer {
        let Some(wanted) = parse_filter(request.query("$filter")) else {
            let body = json!({ "Error": { "Code": "400", "Message": "Invalid OData parameters supplied" } });
            return Answer::new(http::StatusCode::BAD_REQUEST, body);
        };
        let found: Vec<&Price> =
            self.prices.iter().filter(|price| wanted.iter().all(|(name, value)| price.field(name) == value)).collect();
        let skip: usize = request.query("$skip").parse().unwrap_or(0);
        let page: Vec<Value> = found.iter().skip(skip).take(self.style.page).map(|price| price.json()).collect();
        let next = (skip + page.len() < found.len()).then(|| {
            let filter = request.query("$filter").replace(' ', "%20").replace('\'', "%27");
            format!("{}/api/retail/prices?$filter={filter}&$skip={}", request.base, skip + page.len())
        });
        Answer::ok(json!({
            "BillingCurrency": "USD", "CustomerEntityId": "Default", "CustomerEntityType": "Retail",
            "Count": page.len(), "Items": page, "NextPageLink": next,
        }))
    }
}

/// `a eq 'x' and b eq 'y'`; none when it is anything else.
pub(crate) fn parse_filter(filter: &str) -> Option<Vec<(String, String)>> {
    if filter.is_empty() {
        return Some(Vec::new());
    }
    filter
        .split(" and ")
        .map(|term| {
            let (name, value) = term.trim().split_once(" eq ")?;
            let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            Some((name.trim().to_owned(), value.to_owned()))
        })
        .collect()
}
