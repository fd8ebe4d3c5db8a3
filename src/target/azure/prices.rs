//! VM prices of a region from Azure's Retail Prices API, kept for a day; no login is needed, and none is sent.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use democtl_core::cost::{PriceKind, Prices, RetailPrice};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::arm::{http_client, is_loopback};
use crate::environment::write_whole;

/// The API of the public cloud.
pub const PUBLIC_PRICES: &str = "https://prices.azure.com";

/// Prices are good for a day.
const FRESH: TimeDelta = TimeDelta::hours(24);
/// A plan does not wait long for a price.
const PATIENCE: Duration = Duration::from_secs(10);
/// More pages than any region's VM size has.
const MOST_PAGES: usize = 50;

/// Where prices come from.
#[derive(Debug, Clone)]
pub struct PriceList {
    /// The API's address.
    pub endpoint: String,
    /// Directory of the cache.
    pub cache: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cached {
    at: DateTime<Utc>,
    items: Vec<RetailPrice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    items: Vec<RetailPrice>,
    #[serde(default)]
    next_page_link: Option<String>,
}

impl PriceList {
    /// The prices with those of `sizes` taken from the list of now, else from the cache, else as they were.
    pub async fn current(&self, prices: Prices, sizes: &[&str], region: &str, now: DateTime<Utc>) -> Prices {
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable();
        sizes.dedup();
        let file = self.cache.join(format!("prices-{region}-{}.json", sizes.join("-").to_lowercase()));
        let cached = read(&file);
        if let Some(cached) = &cached
            && now - cached.at < FRESH
        {
            return prices.with_list(&cached.items, &sizes, region, &date(cached.at), PriceKind::List);
        }
        match self.fetch(&sizes, region).await {
            Ok(items) => {
                let fetched = Cached { at: now, items };
                if let Ok(text) = serde_json::to_vec(&fetched) {
                    // A cache that cannot be written costs a request next time, nothing more.
                    let _ = std::fs::create_dir_all(&self.cache).and_then(|()| write_whole(&file, &text));
                }
                prices.with_list(&fetched.items, &sizes, region, &date(now), PriceKind::List)
            }
            Err(error) => {
                tracing::debug!(error, "no prices");
                match cached {
                    Some(old) => prices.with_list(&old.items, &sizes, region, &date(old.at), PriceKind::Cached),
                    None => prices,
                }
            }
        }
    }

    async fn fetch(&self, sizes: &[&str], region: &str) -> Result<Vec<RetailPrice>, String> {
        let text = |error: reqwest::Error| error.without_url().to_string();
        let base = Url::parse(&self.endpoint).map_err(|error| error.to_string())?;
        let http = http_client(is_loopback(&base), PATIENCE).map_err(text)?;
        let mut items = Vec::new();
        for size in sizes {
            let mut url = base.join("/api/retail/prices").map_err(|error| error.to_string())?;
            let filter = format!(
                "serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and armSkuName eq '{size}' and \
                 priceType eq 'Consumption'"
            );
            url.query_pairs_mut().append_pair("$filter", &filter);
            let mut next = Some(url);
            let mut pages = 0;
            while let Some(url) = next.take() {
                let answer = http.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(text)?;
                let page: Page = answer.json().await.map_err(text)?;
                items.extend(page.items);
                pages += 1;
                next = match page.next_page_link.filter(|link| !link.is_empty()) {
                    Some(_) if pages >= MOST_PAGES => return Err(format!("more than {MOST_PAGES} pages for {size}")),
                    Some(link) => Some(base.join(&link).map_err(|error| error.to_string())?),
                    None => None,
                };
            }
        }
        Ok(items)
    }
}

fn read(file: &Path) -> Option<Cached> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn date(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}
